# Ends a server when its owner is gone. Standard input is a pipe from the owner: it ends when the owner does, however.
# Arguments: the cluster, tenths of a second for an orderly end (0: stop at once), then what to delete, then `--` and
# directories to delete if empty.
# The owner writes the server's pid on a line at each start, `0` at each stop, and `done` when there is nothing left.
trap '' INT HUP TERM
cluster=$1
patience=$2
shift 2

pid=0
while read -r word; do
    [ "$word" = done ] && exit 0
    pid=$word
done

# Is the pid still a server of this cluster? Its working directory says it on Linux, its command line elsewhere.
ours() {
    [ "$pid" -gt 0 ] || return 1
    if [ -d /proc/self/cwd ]; then
        [ "/proc/$pid/cwd" -ef "$cluster" ]
    else
        ps -ww -o command= -p "$pid" | grep -F -q -- "$cluster"
    fi
}

wait_gone() {
    tenths=$1
    while [ "$tenths" -gt 0 ] && ours; do
        sleep 0.1
        tenths=$((tenths - 1))
    done
    ! ours
}

end() {
    ours || return
    if [ "$patience" -gt 0 ]; then
        kill -INT "$pid" && wait_gone "$patience" && return
    fi
    kill -QUIT "$pid" && wait_gone 100 && return
    kill -KILL "$pid" && wait_gone 50
}

end
tries=50
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    # A process that is just ending may write once more.
    until rm -rf -- "$1" && [ ! -e "$1" ]; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || break
        sleep 0.1
    done
    shift
done
[ $# -gt 0 ] && shift
for directory; do
    rmdir -- "$directory"
done
