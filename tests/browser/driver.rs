//! One chromedriver for all tests of this binary, started when it is first wanted and gone with the process, however that
//! ends: see `driver.sh`.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::LazyLock;

/// The environment variable that names chromedriver where it is not on the `PATH`.
const CHOICE: &str = "PGQUEUE_CHROMEDRIVER";

static DRIVER: LazyLock<Driver> = LazyLock::new(Driver::start);

struct Driver {
    url: String,
    /// Closed when this process ends, which ends the guard and all that it guards.
    _life: ChildStdin,
    _answers: BufReader<ChildStdout>,
    _guard: Child,
}

/// Gives the URL of chromedriver.
pub(crate) fn url() -> &'static str {
    &DRIVER.url
}

impl Driver {
    fn start() -> Self {
        let program = std::env::var(CHOICE).unwrap_or_else(|_| "chromedriver".to_owned());
        let directory = tempfile::Builder::new()
            .prefix("pgqueue-browser-")
            .tempdir();
        let mut guard = Command::new("sh")
            .args(["-c", include_str!("driver.sh"), "driver.sh", &program])
            .current_dir(directory.unwrap().keep())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut answers = BufReader::new(guard.stdout.take().unwrap());
        let port = port(&mut answers).unwrap_or_else(|| {
            panic!("{program} does not start; install chromium and chromedriver, or set {CHOICE}")
        });
        Self {
            url: format!("http://127.0.0.1:{port}"),
            _life: guard.stdin.take().unwrap(),
            _answers: answers,
            _guard: guard,
        }
    }
}

/// Reads `ChromeDriver was started successfully on port 12345.`
fn port(answers: &mut impl BufRead) -> Option<u16> {
    let lines = answers.lines().map_while(Result::ok);
    lines
        .filter_map(|line| {
            let (_, port) = line.split_once("successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        })
        .next()
}
