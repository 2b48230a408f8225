//! The machine that figures are of.

use std::{fs, thread::available_parallelism};

pub(super) struct Machine {
    pub(super) cores: usize,
    pub(super) cpu: String,
    pub(super) kernel: String,
    pub(super) postgres: String,
}

impl Machine {
    /// Unknown is a word too: a bench doesn't fail for want of a name.
    pub(super) fn look(postgres: String) -> Self {
        let unknown = || "unknown".to_owned();
        Self {
            cores: available_parallelism().map_or(1, Into::into),
            cpu: fs::read_to_string("/proc/cpuinfo")
                .ok()
                .and_then(|text| model(&text))
                .unwrap_or_else(unknown),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(
                |_| std::env::consts::OS.to_owned(),
                |release| format!("Linux {}", release.trim()),
            ),
            postgres,
        }
    }
}

/// Not every processor tells its name: ARM's tell numbers.
fn model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name") || line.starts_with("Model"))?;
    line.split_once(':').map(|(_, name)| name.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_s_name_is_found_where_there_is_one() {
        assert_eq!(model("processor\t: 0\nmodel name\t: A CPU @ 2 GHz\n"), Some("A CPU @ 2 GHz".to_owned()));
        assert_eq!(model("processor\t: 0\nCPU part\t: 0xd0c\n"), None);
    }
}
