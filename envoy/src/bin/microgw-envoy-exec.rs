//! The hidden subcommand of `micro-gw` by itself, for this crate's tests.

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != microgw_envoy::EXEC_SUBCOMMAND) {
        eprintln!("error: the first argument must be `{}`", microgw_envoy::EXEC_SUBCOMMAND);
        std::process::exit(2);
    }
    eprintln!("error: {}", microgw_envoy::exec_child(arguments));
    std::process::exit(1);
}
