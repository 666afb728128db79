//! What the person asked for on the command line.

/// Shown by `--help`.
pub(crate) const HELP: &str = "\
usage: ./demo [--once]

Runs a small shop on pgqueue: imports the orders of examples/shop/orders.csv, writes a receipt for each, tells a
warehouse that refuses some, and takes more orders over HTTP until Ctrl-C.

  --once    import, wait until every job has ended, check the result, print it, end: 0 if all is right, else 1
  --help    print this

environment:
  DATABASE_URL    the PostgreSQL database to use, as a URL; unset: a private one is started, and removed at the end
  PORT            where the shop listens on 127.0.0.1; unset: 8080, or any free port if that is taken
  RUST_LOG        what is logged to standard error; unset: error, which includes each job that dies";

/// How the shop runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Help,
    Once,
    UntilSignal,
}

/// Reads the arguments, without the program's name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Mode, String> {
    let mut mode = Mode::UntilSignal;
    for argument in arguments {
        match argument.as_str() {
            "--help" | "-h" => return Ok(Mode::Help),
            "--once" => mode = Mode::Once,
            other => return Err(format!("unknown argument {other:?}; see --help")),
        }
    }
    Ok(mode)
}
