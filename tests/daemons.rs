//! Syslog and the journal as their own daemons read them: the real rsyslog by every transport, and
//! the real systemd-journald in a mount namespace of its own.
//!
//! `cargo test --test daemons --features syslog,journald`. What is missing on this machine is
//! reported as ignored, with the reason.
#![allow(clippy::incompatible_msrv)]
// only the library keeps to the oldest compiler

// This is a test with a harness of its own, which fails by panicking.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "daemons/receivers.rs"]
mod receivers;
mod support;

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use unfazed::{Builder, Facility, Handle, Journald, Logger, Overflow, State, Syslog, SyslogProtocol};

use support::child::{self, Case, Outcome};

/// Debian keeps it where an ordinary user's PATH does not lead.
const RSYSLOG: &str = "/usr/sbin/rsyslogd";
const JOURNALD: &str = "/lib/systemd/systemd-journald";
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    if let Some((role, _)) = child::role() {
        assert_eq!(role, "moves");
        receivers::moves();
        return ExitCode::SUCCESS;
    }
    let mut cases = child::cases![
        receivers::a_daemon_that_has_closed_gets_the_next_message_by_a_new_connection,
        receivers::a_daemon_that_has_closed_at_rest_suspends_its_output_and_gets_a_gap_line,
        receivers::what_a_daemon_sends_is_no_end_and_does_not_hide_one,
        receivers::a_message_of_which_a_part_is_sent_is_not_written,
        receivers::each_address_of_a_name_is_tried_by_tcp,
        receivers::an_address_that_does_not_answer_is_followed_by_the_next,
        receivers::an_address_that_does_not_answer_is_followed_by_the_next_at_rest_too,
        receivers::a_daemon_that_closes_before_it_has_read_all_suspends_its_output,
        receivers::a_daemon_that_closes_each_connection_at_once_suspends_its_output,
        receivers::each_address_of_a_name_is_tried_by_udp,
        receivers::a_daemon_that_is_gone_by_udp_suspends_its_output_and_gets_a_gap_line,
        receivers::a_relative_path_stays_where_it_was,
        receivers::the_path_of_a_socket_that_cannot_be_is_an_error_that_names_its_range,
        receivers::an_output_that_is_required_is_open_once_it_is_connected,
    ];
    cases.extend([
        Case::new("rsyslog_reads_rfc_5424_from_a_local_socket", |dir| with_rsyslog(dir, local_rfc_5424)),
        Case::new("rsyslog_reads_rfc_3164_from_a_local_socket", |dir| with_rsyslog(dir, local_rfc_3164)),
        Case::new("rsyslog_reads_every_message_by_tcp", |dir| with_rsyslog(dir, tcp)),
        Case::new("rsyslog_reads_messages_by_udp", |dir| with_rsyslog(dir, udp)),
        Case::new("a_daemon_that_goes_and_comes_back_is_found_and_gets_a_gap_line", |dir| {
            with_rsyslog(dir, goes_and_comes_back)
        }),
        Case::new("a_daemon_that_reads_nothing_stops_neither_calls_nor_the_file", |dir| {
            reads_nothing(dir);
            Ok(Outcome::holds())
        }),
        Case::new("the_journal_has_every_field", |dir| {
            if !Path::new(JOURNALD).exists() {
                return Ok(Outcome::Skipped(format!("there is no `{JOURNALD}`")));
            }
            if !rustix::process::geteuid().is_root() {
                return Ok(Outcome::Skipped("a mount namespace needs root".to_owned()));
            }
            journal(dir);
            Ok(Outcome::holds())
        }),
    ]);
    child::main(cases)
}

fn with_rsyslog(dir: &Path, case: fn(&Rsyslog)) -> Result<Outcome, String> {
    if !Path::new(RSYSLOG).exists() {
        return Ok(Outcome::Skipped(format!("there is no `{RSYSLOG}`")));
    }
    case(&Rsyslog::new(dir));
    Ok(Outcome::holds())
}

/// A daemon of our own, which listens on a local socket, by UDP and by TCP.
struct Rsyslog {
    dir: PathBuf,
    /// The path of a socket has at most 107 bytes.
    short: tempfile::TempDir,
    udp: u16,
    tcp: u16,
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing more is wanted of it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Rsyslog {
    fn new(dir: &Path) -> Self {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { dir: dir.to_owned(), short: tempfile::tempdir().unwrap(), udp, tcp }
    }

    fn start(&self) -> Running {
        let dir = self.dir.display();
        let _ = fs::create_dir(self.dir.join("state"));
        let _ = fs::remove_file(self.socket());
        let config = format!(
            r#"global(workDirectory="{dir}/state")
module(load="imuxsock" SysSock.Use="off")
module(load="imudp")
module(load="imtcp")
template(name="all" type="string" string="%syslogfacility-text%|%syslogseverity-text%|%app-name%|%procid%|%msgid%|%structured-data%|%msg%\n")
ruleset(name="out") {{ action(type="omfile" file="{dir}/out" template="all") }}
input(type="imuxsock" Socket="{socket}" UseSpecialParser="off" RateLimit.Interval="0" ruleset="out")
input(type="imudp" address="127.0.0.1" port="{udp}" ruleset="out")
input(type="imtcp" address="127.0.0.1" port="{tcp}" ruleset="out")
"#,
            socket = self.socket().display(),
            udp = self.udp,
            tcp = self.tcp,
        );
        fs::write(self.dir.join("rsyslog.conf"), config).unwrap();
        let said = fs::File::create(self.dir.join("rsyslog.said")).unwrap();
        let running = Running(
            Command::new(RSYSLOG)
                .args(["-n", "-f"])
                .arg(self.dir.join("rsyslog.conf"))
                .arg("-i")
                .arg(self.dir.join("rsyslog.pid"))
                .stdout(Stdio::null())
                .stderr(said)
                .spawn()
                .unwrap(),
        );
        self.wait_until("it listens", || self.socket().exists() && self.listens_by_tcp());
        running
    }

    fn listens_by_tcp(&self) -> bool {
        std::net::TcpStream::connect(("127.0.0.1", self.tcp)).is_ok()
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join("out")).unwrap_or_default();
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
    }

    fn socket(&self) -> PathBuf {
        self.short.path().join("log")
    }

    fn wait_until(&self, what: &str, condition: impl FnMut() -> bool) {
        let said = || format!("{what}; {}", fs::read_to_string(self.dir.join("rsyslog.said")).unwrap_or_default());
        child::wait_until(said, PATIENCE, condition);
    }
}

fn logger(syslog: Syslog) -> (Logger, Handle) {
    log::set_max_level(log::LevelFilter::Trace); // nothing is installed
    Builder::new().level(log::LevelFilter::Trace).syslog(syslog).overflow(Overflow::Block).build().unwrap()
}

fn process() -> u32 {
    std::process::id()
}

fn local_rfc_5424(rsyslog: &Rsyslog) {
    let _daemon = rsyslog.start();
    let syslog =
        Syslog::unix(rsyslog.socket()).facility(Facility::Local3).app_name("my app").structured_data("kv@32473");
    let (logger, handle) = logger(syslog);
    log::error!(logger: logger, target: "shop", user = "say \"]\\", id = 7; "two\nlines");
    log::debug!(logger: logger, target: "shop", "plain");
    handle.flush(PATIENCE).unwrap();
    rsyslog.wait_until("both messages arrive", || rsyslog.lines().len() >= 2);
    let pid = process();
    assert_eq!(
        rsyslog.lines(),
        [
            format!(r#"local3|err|my_app|{pid}|shop|[kv@32473 user="say \"\]\\" id="7"]|two\nlines"#),
            format!("local3|debug|my_app|{pid}|shop|-|plain"),
        ]
    );
}

fn local_rfc_3164(rsyslog: &Rsyslog) {
    let _daemon = rsyslog.start();
    let syslog =
        Syslog::unix(rsyslog.socket()).protocol(SyslogProtocol::Rfc3164).facility(Facility::Daemon).app_name("app");
    let (logger, handle) = logger(syslog);
    log::warn!(logger: logger, target: "shop", id = 7; "slow");
    handle.flush(PATIENCE).unwrap();
    rsyslog.wait_until("the message arrives", || !rsyslog.lines().is_empty());
    let line = rsyslog.lines().remove(0);
    assert!(line.starts_with("daemon|warning|") && line.ends_with("shop: slow id=7"), "{line}");
}

fn tcp(rsyslog: &Rsyslog) {
    const EACH: usize = 20_000;
    let _daemon = rsyslog.start();
    let (logger, handle) = logger(Syslog::tcp(("127.0.0.1", rsyslog.tcp)).unwrap().app_name("app"));
    for number in 0..EACH {
        log::info!(logger: logger, target: "t", "number {number}");
    }
    handle.flush(PATIENCE).unwrap();
    let stats = handle.stats();
    assert_eq!((stats.written, stats.dropped.total()), (EACH as u64, 0), "{stats:?}");
    rsyslog.wait_until("all messages arrive", || rsyslog.lines().len() >= EACH);
    for (number, line) in rsyslog.lines().iter().enumerate() {
        assert_eq!(*line, format!("user|info|app|{}|t|-|number {number}", process()));
    }
}

fn udp(rsyslog: &Rsyslog) {
    let _daemon = rsyslog.start();
    let (logger, handle) = logger(Syslog::udp(("127.0.0.1", rsyslog.udp)).unwrap().app_name("app"));
    log::info!(logger: logger, target: "t", "by udp");
    handle.flush(PATIENCE).unwrap();
    rsyslog.wait_until("the message arrives", || !rsyslog.lines().is_empty());
    assert_eq!(rsyslog.lines(), [format!("user|info|app|{}|t|-|by udp", process())]);
}

fn goes_and_comes_back(rsyslog: &Rsyslog) {
    let daemon = rsyslog.start();
    let (logger, handle) = logger(Syslog::unix(rsyslog.socket()).app_name("app"));
    log::info!(logger: logger, target: "t", "before");
    handle.flush(PATIENCE).unwrap();
    rsyslog.wait_until("the first message arrives", || !rsyslog.lines().is_empty());
    drop(daemon);
    let _ = fs::remove_file(rsyslog.socket());
    log::info!(logger: logger, target: "t", "nobody hears this");
    log::error!(logger: logger, target: "t", "but this is retained");
    rsyslog.wait_until("it is suspended", || matches!(handle.state(), State::Suspended(_)));

    let _daemon = rsyslog.start();
    rsyslog.wait_until("the retained message arrives", || rsyslog.lines().iter().any(|line| line.contains("retained")));
    // The daemon may have written that before the writer has told the callers that INFO is taken.
    rsyslog.wait_until("the last message arrives", || {
        log::info!(logger: logger, target: "t", "after");
        rsyslog.lines().iter().any(|line| line.ends_with("after"))
    });
    let lines = rsyslog.lines();
    let place = |what: &str| lines.iter().position(|line| line.contains(what)).unwrap_or_else(|| panic!("{lines:#?}"));
    assert!(place("before") < place("logging resumed"));
    assert!(place("logging resumed") < place("but this is retained"));
    assert!(place("but this is retained") < place("|after"));
    handle.flush(PATIENCE).unwrap();
    let stats = handle.stats();
    assert_eq!(stats.accepted, stats.written + stats.dropped.total(), "{stats:?}");
}

fn reads_nothing(dir: &Path) {
    let short = tempfile::tempdir().unwrap();
    let socket = short.path().join("stuck");
    let _stuck = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    let file = dir.join("app.log");
    let (logger, handle) = Builder::new().file(&file).syslog(Syslog::unix(&socket)).build().unwrap();
    log::set_max_level(log::LevelFilter::Info);
    let the_file_gets = |number| {
        let has_got = || handle.stats().outputs[0].written >= number;
        child::wait_until(|| "the file gets all".to_owned(), PATIENCE, has_got);
    };
    let mut number = 0_u64;
    // Until the socket is full, and then as many again.
    while handle.stats().outputs[1].written + 100 > number || number < 1000 {
        log::info!(logger: logger, "number {number}");
        number += 1;
        if number % 100 == 0 {
            the_file_gets(number);
        }
    }
    the_file_gets(number);
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count() as u64, number);
}

/// The journal's daemon in a mount namespace of its own, whose `/run` is its own.
fn journal(dir: &Path) {
    let script =
        format!("mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal /run/log/journal && exec {JOURNALD}");
    let said = fs::File::create(dir.join("journald.said")).unwrap();
    let daemon = Command::new("unshare").args(["-m", "sh", "-c", &script]).stdout(Stdio::null()).stderr(said).spawn();
    let daemon = Running(daemon.unwrap());
    let root = PathBuf::from(format!("/proc/{}/root", daemon.0.id()));
    let socket = root.join("run/systemd/journal/socket");
    let said = || fs::read_to_string(dir.join("journald.said")).unwrap_or_default();
    child::wait_until(|| format!("the journal listens; {}", said()), PATIENCE, || socket.exists());

    log::set_max_level(log::LevelFilter::Trace);
    let journald = Journald::new().socket(&socket).identifier("unfazed-test");
    let (logger, handle) = Builder::new().journald(journald).build().unwrap();
    let large = "x".repeat(60_000);
    let request = format!("{}-{}", process(), "request");
    log::warn!(logger: logger, target: "shop", request_id = request, body = large; "two\nlines");
    handle.flush(PATIENCE).unwrap();

    let entry = || {
        let found = Command::new("journalctl")
            .arg("-D")
            .arg(root.join("run/log/journal"))
            .args(["-o", "json", "--all", &format!("REQUEST_ID={request}")])
            .output()
            .unwrap();
        serde_json::from_slice::<serde_json::Value>(&found.stdout).ok()
    };
    child::wait_until(|| format!("the entry is in the journal; {}", said()), PATIENCE, || entry().is_some());
    let entry = entry().unwrap();
    for (field, value) in [
        ("MESSAGE", "two\nlines"),
        ("PRIORITY", "4"),
        ("SYSLOG_IDENTIFIER", "unfazed-test"),
        ("TARGET", "shop"),
        ("CODE_FILE", file!()),
        ("BODY", &large),
    ] {
        assert_eq!(entry[field], value, "{field}");
    }
}
