//! For tests only: a cluster, an application on a free port, actors, and checks of the clean slate.
