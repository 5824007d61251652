//! The crate's own log macros: what they log is what the macros of `log` log, to the byte, whether
//! the logger is this crate's, another one, or none. An `f32` as a value is the one exception. The
//! tests below are run again, each by itself, as programs with one of these loggers.
#![allow(clippy::incompatible_msrv)] // only the library keeps to the oldest compiler
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says by panicking what is wrong

mod support;

use std::borrow::Cow;
use std::cell::Cell;
use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use log::kv::{self, VisitSource};
use log::{Level, LevelFilter};
use unfazed::{Batch, Builder, Format, Handle, Overflow, Sink, SinkOutput, WriteError};

use support::lines::Lines;

/// Set in a process that plays a program.
const PROGRAM: &str = "UNFAZED_DEFERRED";

/// Runs a test of this file again, by itself, in a process with a logger of its own.
#[track_caller]
fn as_program(test: &str) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let program = command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(PROGRAM, "1");
    let output = program.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{test} as a program: {out}{err}");
}

/// Makes tests that are programs.
macro_rules! programs {
    ($(fn $name:ident() $body:block)*) => {$(
        #[test]
        fn $name() {
            if std::env::var_os(PROGRAM).is_some() $body else {
                as_program(stringify!($name));
            }
        }
    )*};
}

/// Everything that a record has except its time.
fn everything() -> Format {
    Format::custom(|line, record| {
        use std::io::Write as _;
        let place = (record.module_path(), record.file(), record.line());
        write!(line, "{} {} {place:?} {:?}", record.level(), record.target(), record.message())?;
        for (key, value) in record.key_values() {
            write!(line, " {key}={value:?}")?;
        }
        writeln!(line)
    })
}

fn installed(change: impl FnOnce(Builder) -> Builder) -> (Handle, Lines) {
    let lines = Lines::default();
    let builder = Builder::new().level(LevelFilter::Trace).output(lines.output(everything()));
    (change(builder).init().unwrap(), lines)
}

/// Another logger: what it was given, and whether a text was static.
#[derive(Default)]
struct Other(Mutex<Vec<String>>);

static OTHER: Other = Other(Mutex::new(Vec::new()));

impl log::Log for Other {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        struct Pairs(String);

        impl<'kvs> VisitSource<'kvs> for Pairs {
            fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
                use fmt::Write as _;
                write!(self.0, " {key}={value:?}")?;
                Ok(())
            }
        }

        let mut pairs = Pairs(String::new());
        record.key_values().visit(&mut pairs).unwrap();
        let place = (record.module_path_static(), record.file_static(), record.line());
        let text = format!("{}", record.args());
        self.0.lock().unwrap().push(format!("{:?} {place:?} {text:?}{}", record.metadata(), pairs.0));
    }

    fn flush(&self) {}
}

/// A type of the program's own.
struct Own(u32);

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("own {}", self.0))
    }
}

/// Logs every message by both kinds of macros, from one place, and has each pair checked; with it
/// goes the text, where it is that of `format!`.
fn log_everything(check: &mut dyn FnMut(Option<String>)) {
    let mut number = 0;
    macro_rules! both {
        ($($text:tt)+) => {{
            number += 1;
            let level = [Level::Error, Level::Warn, Level::Info, Level::Debug][number % 4];
            log::log!(level, $($text)+); unfazed::log!(level, $($text)+);
            check(None);
            log::trace!(target: "own target", $($text)+); unfazed::trace!(target: "own target", $($text)+);
            check(None);
        }};
    }
    /// By the macros of a level.
    macro_rules! level {
        ($level:ident, $($text:tt)+) => {{
            log::$level!($($text)+); unfazed::$level!($($text)+);
            check(None);
        }};
    }
    /// The same, and the text is that of `format!`.
    macro_rules! text {
        ($($text:tt)+) => {{
            both!($($text)+);
            log::info!($($text)+); unfazed::info!($($text)+);
            check(Some(format!($($text)+)));
        }};
    }

    let (n, x, name, width, precision) = (42_u64, 12.3456_f64, "Ada", 12_usize, 3_usize);
    let (owned, letter, yes) = (String::from("über\n\"quoted\""), 'ß', true);
    let address: IpAddr = Ipv4Addr::new(192, 168, 17, 4).into();
    let largest = u128::MAX;
    let nothing: Option<u8> = None;
    #[allow(non_snake_case)]
    let ADDRESS = Ipv6Addr::LOCALHOST;

    text!("static");
    text!("{{}} static with braces {{{{");
    text!("{}", n);
    text!("{n}");
    text!("{0} {0} {n} {n}", n);
    text!("user {} logged in from {} in {:.2} ms", name, address, x);
    text!("user {name} logged in from {ADDRESS} in {x:.2} ms");
    text!("{a} {b} {a}", a = n, b = x);
    text!("{} {a} {}", 1, 2, a = 3);
    text!("{1} {} {0} {}", "first", "second");
    text!("{1} {n} {0:?} {2:08}", "first", "second", n);
    text!("{:5}|{:<5}|{:>5}|{:^5}|{:*^9}", n, n, n, n, n);
    text!("{:05}|{:+}|{:+05}|{:#x}|{:#010b}|{:o}", n, n, n, n, n, n);
    text!("{:x} {:X} {:#X} {:e} {:E}", n, n, n, n, x);
    text!("{:x} {:b} {:o}", -1_i8, -2_i16, -3_i32);
    text!("{:02x}|{:016x}|{:#x}|{:#010x}|{:#06x}", 7_u8, -1_i8, n, n, -2_i64);
    text!("{:0}|{:00}|{:300}|{:<1}|{:>0}", n, n, n, n, n);
    text!("{:?} {:#?} {:x?} {:X?} {:02x?}", n, n, n, n, n);
    text!("{:width$}|{:>width$}|{:<width$.precision$}|{:.precision$}", n, name, x, x);
    text!("{:1$}|{:.2$}|{0:>3$}", 5, 7, 2, 9);
    text!("{:.*}|{:.*}|{:8.*}", 2, x, 1, x, 3, x);
    text!("{1:.*} {}", 2, x);
    text!("{:w$.p$}", x, w = 10, p = 1);
    text!("{:>1$}", name, width);
    text!("{:}^5}|{:{<5}|{:ß>5}|{:\u{1F600}^5}", n, n, n, n);
    text!("{ }|{n }|{:?}", n, name);
    text!("{:08.3}|{:+.1}|{:e}|{:.0}|{:?}", x, x, x, x, x);
    text!("{} {} {} {} {}", f64::NAN, f64::INFINITY, -0.0_f64, f64::MIN_POSITIVE, 1e300);
    text!("{} {} {:?} {:?}", f32::MAX, 0.1_f32, 1e16_f64, 1e-7_f32);
    text!("{} {} {} {}", i128::MIN, largest, isize::MIN, usize::MAX);
    text!("{} {} {} {} {} {}", i8::MIN, u8::MAX, i16::MIN, u16::MAX, i32::MIN, i64::MIN);
    text!("{} {:?} {} {:?} {:6}|{:>3}|", letter, letter, yes, yes, yes, letter);
    text!("{} {:?} {:.3} {:>30}|", owned, owned, owned, owned);
    text!("{:?} {:?} {:#?} {:?}", Some(1), nothing, Some("text"), Some(Some(x)));
    text!(
        "{:?} {:.1?} {:>10?}|{:?}",
        Duration::from_micros(1500),
        Duration::from_secs(61),
        Duration::ZERO,
        Duration::MAX
    );
    text!("{:?} {:?} {:?}", (), Ordering::Less, Level::Warn);
    let (path, os) = (PathBuf::from("/var/log/it's \"so\"\n\u{301}"), OsString::from("β"));
    text!("{:?} {:?} {path:>40?} {os:?} {:#?} {:?}", path, path.as_path(), Some(&path), OsStr::new("a b"));
    #[cfg(unix)]
    text!("{:?} {n}", std::os::unix::ffi::OsStrExt::from_bytes(b"not \xff UTF-8") as &OsStr);
    text!("{} {:>8}|{:?}", Level::Info, Level::Error, Level::Trace);
    text!("{} {:?} {:>20}|{:<20}|", address, address, address, ADDRESS);
    let (v4, v6) = (SocketAddr::new(address, 80), SocketAddrV6::new(ADDRESS, 443, 7, 3));
    text!("{v4} {v6} {v4:?} {v6:>30} {}", SocketAddr::from(v6));
    text!("{} {:?} {:x}", NonZero::new(7_u8).unwrap(), NonZero::new(-7_i64).unwrap(), NonZero::new(255_u32).unwrap());
    text!("{} {} {} {}", &&n, Box::new(n), Arc::new(name), Cow::Borrowed("cow"));
    text!("{} {}", &mut n.clone(), &*owned);
    text!("{}", Own(3));
    text!("{} {:>9} {n}", n, Own(4));
    text!("{:?} {:?}", vec![1, 2], [Some("a"), None]);
    text!("{} {}", format_args!("{n}"), n);
    text!("{}", std::path::Path::new("/tmp").display());
    text!("{}", std::io::Error::other("failed"));
    text!("{}", if yes { 1 } else { 2 });
    text!("{} {}", n < 50, n == 42 && x > 3.0);
    text!("{} {}", Vec::<(u8, u8)>::new().len(), <u8 as TryFrom<u64>>::try_from(n).unwrap());
    text!("{}", {
        let a = n;
        a + 1
    });
    text!("{} {}", -n.cast_signed(), !n);
    text!("{}", owned.chars().filter(|c| *c == 'b' || *c > 'x').count());
    text!(r"raw {n} \n");
    text!(r#"raw "quoted" {}"#, n);
    text!("\x7bn} {}\u{7d}} \t\0", n);
    text!(
        "a \
           line {n}"
    );
    text!("{}", concat!("a", 1));
    text!(concat!("{} ", "{}"), 1, n);
    text!("{größe}{}", 1, größe = 2);
    text!("trailing {}", n,);
    text!("{:p}", std::ptr::null::<u8>());
    text!("{}", "x".repeat(100));
    text!("{} {}", "x".repeat(5000), "y".repeat(60_000).len());

    /// An expression that another macro hands on stays one.
    macro_rules! handed_on {
        ($sum:expr, $or:expr) => {
            text!("{} {}", $sum * 2, -$sum);
            text!("{} {}", $sum.pow(2), !$or);
            text!("{n} {}", $sum, n = $sum * 2);
            text!("{a} {b}", a = { $sum * 2 }, b = ($sum * 2));
            both!(sum = $sum * 2, not = !$or, neg = -$sum; "{}", $sum * 2);
            log::info!(target: "t", "{}", $sum * 2);
            unfazed::info!(target: "t", "{}", $sum * 2);
            check(Some(format!("{}", $sum * 2)));
        };
    }
    handed_on!(1_i32 + 1, yes || n > 50);
    macro_rules! n {
        ($_:ident) => {
            n
        };
    }
    /// More values, and more arguments, than are stored; the compiler would not nest so many types.
    macro_rules! many {
        ($($key:ident)*) => {
            text!(
                "{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}\
                    {}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}\
                    {}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}{}",
                $(n!($key), n, n, n, n, n, n, n, n, n, n, n, n),*
            );
            both!($($key = 1, $key = 2, $key = 3, $key = 4, $key = 5, $key = 6, $key = 7, $key = 8, $key = 9,
                $key = 10, $key = 11, $key = 12, $key = 13,)* last = n; "{n}");
        };
    }
    many!(a b c d e f g h i j);

    level!(error, "{n}");
    level!(warn, k = 1; "{}", x);
    level!(debug, "static");

    both!("{:>65535}{:>65535}", n, name);
    both!("{}{}", "x".repeat(40_000), "ß".repeat(20_000));
    both!("{}", "x".repeat(1_000_000));
    both!(n; "static");
    both!(n, name, x; "text {n}");
    both!(a = 1, "b c" = name, d:? = Some(1), e:% = x; "text {}", n);
    both!(err:err = std::io::Error::other("failed"); "failed {}", n);
    both!(n:%, x:?, name:debug; "{n}");
    both!(nothing, unit = (), letter; "{}", n);
    both!(own:% = Own(1); "{} {}", n, Own(2));
    both!(long = "x".repeat(100_000), after = n; "{n}");
    both!(before = n, long = "x".repeat(300), after = n; "{n}");
    both!(("an expression") = n, r#"a "raw" text"# = 1, r#type = 2; "{n}");
    both!(i = -1_i8, j = -2_i16, k = -3_i32, l = -4_i64, m = -5_isize, u = 1_u8, v = 2_u16, w = 3_u32, x = 4_u64; "{n}");
    both!(size = 5_usize, wide = -6_i128, wider = 7_u128, letter, cow = Cow::Borrowed("cow"); "{n}");
    both!(boxed = Box::new(n), shared = Arc::new(name), twice = &&n, inner = Some(Some(true)), ADDRESS; "{n}");
    both!(one = NonZero::new(7_u8).unwrap(), text = Box::<str>::from("boxed"), number = kv::Value::from(8); "{n}");
    both!(
        "a key of more than 255 bytes: 01234567890123456789012345678901234567890123456789012345678901234567890123456789012\
            012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567\
            012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567" =
            n; "{n}"
    );
    both!(key_one = 1, key_two = "two", key_three = 3.0, body = "b".repeat(65_480); "{n}");
    both!(key_one = 1, key_two = "two", body = "b".repeat(70_000), after = n; "{n}");
    both!(same = 1, same = 2; "{}", n,);
    both!(largest, least = i128::MIN, yes, f = f64::MIN, literal = 0.123456789; "{n} {}", n);
    both!(text = *owned, cut = owned[2..], some = Some(n), list = 1 + 2, neg = -1; "{n}");
}

programs! {
    fn what_is_logged_is_what_log_logs() {
        let (handle, lines) = installed(|builder| builder);
        // A site that has logged before takes a shorter way.
        for _ in 0..2 {
            log_everything(&mut |text| {
                let lines = lines.take(&handle);
                let [by_log, own] = &lines[..] else { panic!("{lines:?}") };
                assert_eq!(own, by_log);
                assert!(text.is_none_or(|text| own.contains(&format!("{text:?}"))), "{own}");
            });
        }
        assert_eq!(handle.stats().dropped.total(), 0);
    }

    fn no_item_that_is_in_scope_changes_a_call() {
        let (handle, lines) = installed(|builder| builder);
        hostile::log_everything();
        let lines = lines.take(&handle);
        assert_eq!(lines.len(), 18, "{lines:?}");
        lines.chunks(2).for_each(|pair| assert_eq!(pair[1], pair[0]));
    }

    fn an_f32_has_the_shortest_text_that_gives_it_back() {
        const FLOATS: &str = "ratio=F64(0.1) by=F64(0.1) some=F64(16.7) none=Null wide=F64(0.1) all=F64(0.123456789) \
            boxed=F64(0.1) shared=F64(0.1)";

        let (handle, lines) = installed(|builder| builder);
        let ratio = 0.1_f32;
        let (by, some, none) = (&ratio, Some(16.7_f32), None::<f32>);
        let (boxed, shared) = (Box::new(ratio), Some(Arc::new(Some(ratio))));
        // A site that has logged before takes a shorter way.
        for _ in 0..2 {
            unfazed::info!(ratio, by, some, none, wide = 0.1_f64, all = 0.123456789, boxed, shared; "floats");
        }
        unfazed::info!("largest value" = f32::MAX, odd = -f32::INFINITY; "{ratio}");
        // `log` cannot know it.
        log::info!(ratio; "floats");
        let lines = lines.take(&handle);
        let expected = [
            FLOATS,
            FLOATS,
            "\"0.1\" largest value=F64(3.4028235e38) odd=F64(-inf)",
            "ratio=F64(0.10000000149011612)",
        ];
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.trim_end().ends_with(expected), "{line}");
        }
        assert_eq!(lines.len(), expected.len());
    }

    fn every_format_lays_out_the_same_line() {
        let formats = [
            Format::text().thread().location(),
            Format::logfmt(),
            Format::pattern("{level} {target} {message} {kv}"),
            Format::json(),
            Format::otel(),
            Format::ecs(),
            Format::gelf(),
            Format::google_cloud(),
        ];
        let outputs: Vec<Lines> = formats.iter().map(|_| Lines::default()).collect();
        let (handle, _lines) = installed(|builder| {
            let each = formats.iter().zip(&outputs);
            each.fold(builder, |builder, (format, lines)| builder.output(lines.output(format.clone())))
        });
        // Of the time and the level, which come first, only the digits differ.
        let without_digits = |line: &String| line.replace(|c: char| c.is_ascii_digit(), "");
        for _ in 0..2 {
            log_everything(&mut |_| {
                for lines in &outputs {
                    let lines = lines.take(&handle);
                    let [by_log, own] = &lines[..] else { panic!("{lines:?}") };
                    assert_eq!(without_digits(own), without_digits(by_log));
                }
            });
        }
    }

    fn another_logger_is_given_what_log_gives_it() {
        log::set_logger(&OTHER).unwrap();
        log::set_max_level(LevelFilter::Trace);
        log_everything(&mut |text| {
            let lines = std::mem::take(&mut *OTHER.0.lock().unwrap());
            let [by_log, own] = &lines[..] else { panic!("{lines:?}") };
            assert_eq!(own, by_log);
            assert!(text.is_none_or(|text| own.contains(&format!("{text:?}"))), "{own}");
        });
    }

    fn without_a_logger_nothing_is_evaluated() {
        log_everything(&mut |_| {});
        unfazed::error!("{}", { assert!(log::max_level() > LevelFilter::Off, "evaluated"); 1 });
    }

    fn a_logger_that_is_only_built_goes_by_the_facade() {
        let lines = Lines::default();
        let (logger, handle) = Builder::new().output(lines.output(everything())).build().unwrap();
        log::set_max_level(LevelFilter::Info);
        unfazed::info!("to no logger {}", 1);
        unfazed::info!(logger: logger, "to this one {}", 2);
        assert_eq!(lines.take(&handle).len(), 1);
        log::set_boxed_logger(Box::new(logger)).unwrap();
        unfazed::info!("to the global one {}", 3);
        assert_eq!(lines.take(&handle).len(), 1);
    }

    fn an_argument_is_evaluated_once_or_not_at_all() {
        let (handle, lines) = installed(|builder| builder.level(LevelFilter::Info).filter("off_target=off"));
        let count = AtomicU32::new(0);
        let next = || count.fetch_add(1, Relaxed);
        unfazed::info!("{0} {0} {n}", next(), n = next());
        unfazed::info!(k = next(); "{}", next());
        unfazed::info!("{:1$}", 7, next() as usize);
        unfazed::log!({ next(); Level::Info }, "{}", next());
        assert_eq!(count.load(Relaxed), 7);
        unfazed::debug!(k = next(); "{}", next());
        unfazed::trace!("{}", next());
        assert_eq!(count.load(Relaxed), 7);
        // As with `log`: by its target a record is filtered later.
        unfazed::info!(target: "off_target", "{}", next());
        assert_eq!(lines.take(&handle).len(), 4);
    }

    fn temporaries_live_as_long_as_the_call_and_nothing_is_moved() {
        let (handle, lines) = installed(|builder| builder);
        let (number, text) = (Mutex::new(5), String::from("text"));
        let locked = || -> MutexGuard<'_, i32> { number.lock().unwrap() };
        unfazed::info!("{} {text} {}", *locked(), text);
        unfazed::info!("{} {}", locked().clone(), &text[1..]);
        assert!(number.try_lock().is_ok());
        unfazed::info!("{}", text.clone() + "!");
        drop(text);
        assert_eq!(lines.take(&handle).len(), 3);
    }

    // Its name stands for a new value at each use.
    fn a_constant_is_made_once_for_a_call() {
        struct Counted;

        impl fmt::Display for Counted {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("counted")
            }
        }

        impl Drop for Counted {
            fn drop(&mut self) {
                DROPPED.fetch_add(1, Relaxed);
            }
        }

        static DROPPED: AtomicU32 = AtomicU32::new(0);
        const CONSTANT: Counted = Counted;
        const _UNUSED: Counted = Counted;
        const r#RAW: Counted = Counted;

        let (handle, lines) = installed(|builder| builder);
        macro_rules! once {
            ($($call:tt)+) => {{
                unfazed::info!($($call)+);
                assert_eq!(DROPPED.swap(0, Relaxed), 1, "{}", stringify!($($call)+));
            }};
        }
        // A site that has logged before takes a shorter way.
        for number in 0..2 {
            once!("{}", CONSTANT);
            once!("{Counted}");
            once!("{0} {0} {number}", Counted);
            once!(target: "t", "{CONSTANT} {CONSTANT:>9} {}", number);
            once!(target: "t", number; "{constant}", constant = CONSTANT);
            once!(number, constant:% = CONSTANT; "{number}");
            once!("{_UNUSED} {_UNUSED}");
            once!("{} {number}", _UNUSED);
            once!("{}", r#RAW);
        }
        let lines = lines.take(&handle);
        assert!(lines.len() == 18 && lines.iter().all(|line| line.contains("counted")), "{lines:?}");
    }

    fn a_call_in_a_future_leaves_it_sendable() {
        let (handle, lines) = installed(|builder| builder);
        async fn number() -> u32 {
            7
        }
        let future = async {
            unfazed::info!("before");
            unfazed::info!("{} {}", number().await, Own(number().await));
            unfazed::warn!("{}", number().await);
            number().await
        };
        fn is_send<T: Send>(value: T) -> T {
            value
        }
        let mut future = Box::pin(is_send(future));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(future.as_mut().poll(&mut context).is_ready());
        assert_eq!(lines.take(&handle).len(), 3);
    }

    fn a_panic_in_an_argument_is_the_callers_and_leaves_nothing() {
        struct Panics;

        impl fmt::Display for Panics {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("on purpose")
            }
        }

        let (handle, lines) = installed(|builder| builder);
        let too_wide = usize::from(u16::MAX) + 1;
        assert!(std::panic::catch_unwind(|| unfazed::info!("{} {}", 1, Panics)).is_err());
        assert!(std::panic::catch_unwind(|| unfazed::info!(k = 1; "{} {}", 1, Panics)).is_err());
        assert!(std::panic::catch_unwind(|| unfazed::info!(k:% = Panics; "{}", 1)).is_err());
        assert!(std::panic::catch_unwind(|| unfazed::info!("{:1$}", 1, too_wide)).is_err());
        assert!(lines.take(&handle).is_empty());
        let stats = handle.stats();
        assert_eq!((stats.accepted, stats.dropped.total()), (0, 0));
    }

    fn an_argument_that_logs_is_logged_before_the_call() {
        struct Logs;

        impl fmt::Display for Logs {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                unfazed::info!("inner {}", 1);
                f.write_str("outer")
            }
        }

        let (handle, lines) = installed(|builder| builder);
        unfazed::info!("{} {}", Logs, 2);
        let lines = lines.take(&handle);
        assert!(lines[0].contains("inner 1") && lines[1].contains("outer 2"), "{lines:?}");
    }

    fn records_of_one_thread_are_in_their_order() {
        let (handle, lines) = installed(|builder| builder.overflow(Overflow::Block));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for number in 0..3000 {
                        match number % 3 {
                            0 => log::info!("thread {thread} {number}"),
                            1 => unfazed::info!("thread {thread} {number}"),
                            _ => unfazed::info!("thread {} {}", thread, format_args!("{number}")),
                        }
                    }
                });
            }
        });
        let lines = lines.take(&handle);
        for thread in 0..4 {
            let start = format!("thread {thread} ");
            let numbers = lines.iter().filter_map(|line| line.split_once(&start)?.1.split('"').next()?.parse::<u32>().ok());
            assert!(numbers.eq(0..3000), "thread {thread}");
        }
    }

    fn filters_see_the_message_whenever_they_ask_for_it() {
        let second = Lines::default();
        let of_second = second.output(everything()).filter("info/two");
        let (handle, lines) = installed(|builder| builder.output(of_second));
        let log = |number: u32| unfazed::info!("number {}", ["zero", "one", "two", "three"][number as usize]);
        (0..4).for_each(log);
        assert_eq!((lines.take(&handle).len(), second.take(&handle).len()), (4, 1));
        handle.set_filter("info/three").unwrap();
        (0..4).for_each(log);
        assert_eq!((lines.take(&handle).len(), second.take(&handle).len()), (1, 0));
        handle.set_filter("warn").unwrap();
        (0..4).for_each(log);
        assert_eq!((lines.take(&handle).len(), second.take(&handle).len()), (0, 0));
        handle.set_filter("info").unwrap();
        (0..4).for_each(log);
        assert_eq!((lines.take(&handle).len(), second.take(&handle).len()), (4, 1));
    }

    fn a_filter_changes_between_two_calls_of_one_site() {
        let (handle, lines) = installed(|builder| builder);
        let log = |text: &str| unfazed::info!("a text: {}", text);
        for round in 0..3 {
            log("needle");
            log("hay");
            assert_eq!(lines.take(&handle).len(), 2, "{round}");
            let filter = handle.push_filter("trace/needle").unwrap();
            log("needle");
            log("hay");
            assert_eq!(lines.take(&handle).len(), 1, "{round}");
            drop(filter);
        }
    }

    fn context_and_scopes_stand_in_the_record() {
        let (handle, lines) = installed(|builder| builder.context(|fields| fields.add("tenant", 7)));
        for _ in 0..2 {
            let _scope = unfazed::scope([("request", 4711)]);
            unfazed::info!(own = 1; "{} and {}", 1, "two");
            unfazed::info!("{}", 3);
            unfazed::info!("static");
            let lines = lines.take(&handle);
            assert!(lines[0].contains(r#""1 and two" own=I64(1) request=I64(4711) tenant=I64(7)"#), "{lines:?}");
            assert!(lines[1].contains(r#""3" request=I64(4711) tenant=I64(7)"#), "{lines:?}");
            assert!(lines[2].contains(r#""static" request=I64(4711) tenant=I64(7)"#), "{lines:?}");
        }
    }

    fn a_scope_between_two_calls_of_one_site_stands_in_the_records_inside_it() {
        let (handle, lines) = installed(|builder| builder);
        let log = || {
            unfazed::info!("{}", 3);
            unfazed::info!("static");
        };
        for _ in 0..3 {
            log();
            let outside = lines.take(&handle);
            let scope = unfazed::scope([("request", 4711)]);
            log();
            drop(scope);
            let inside: Vec<_> = outside.iter().map(|line| format!("{} request=I64(4711)\n", line.trim_end())).collect();
            assert_eq!(lines.take(&handle), inside);
        }
    }

    fn each_thread_of_a_site_that_has_logged_gives_its_name() {
        let lines = Lines::default();
        let format = Format::custom(|line, record| {
            use std::io::Write as _;
            writeln!(line, "{} {}", record.thread_name().unwrap_or("-"), record.message())
        });
        let handle = Builder::new().output(lines.output(format)).init().unwrap();
        for name in ["first", "second"] {
            let log = || (0..3).for_each(|number| unfazed::info!("number {number}"));
            std::thread::Builder::new().name(name.into()).spawn(log).unwrap().join().unwrap();
            assert_eq!(lines.take(&handle), [0, 1, 2].map(|number| format!("{name} number {number}\n")));
        }
    }

    fn an_output_that_logs_has_its_budget() {
        /// Says twenty things about the first batch.
        struct Talker(bool);

        impl Sink for Talker {
            fn write(&mut self, _: &Batch<'_>) -> Result<(), WriteError> {
                if !std::mem::replace(&mut self.0, true) {
                    (0..20).for_each(say);
                }
                Ok(())
            }
        }

        fn say(number: u32) {
            unfazed::info!("number {number}");
        }

        let (handle, lines) = installed(|builder| builder.sink("talker", Talker(false)));
        (0..2).for_each(say);
        handle.flush(Duration::from_secs(10)).unwrap();
        assert_eq!(lines.take(&handle).len(), 2 + 8);
        let stats = handle.stats();
        assert_eq!((stats.accepted, stats.written, stats.suppressed), (10, 10, 12));
    }

    fn a_rate_limit_counts_the_calls_of_a_site() {
        let (handle, lines) = installed(|builder| builder.rate_limit(2, Duration::from_secs(3600)));
        for number in 0..10 {
            unfazed::info!("number {number}");
        }
        assert_eq!(lines.take(&handle).len(), 2);
        assert_eq!(handle.stats().suppressed, 8);
    }

    fn a_thread_keeps_its_name_when_its_first_record_is_evicted() {
        let lines = Lines::default();
        let format = Format::custom(|line, record| {
            use std::io::Write as _;
            writeln!(line, "{} {}", record.thread_name().unwrap_or("-"), record.message())
        });
        let gate = Arc::new(Mutex::new(()));
        let locked = gate.lock().unwrap();
        let slow = Slow { gate: gate.clone(), lines: lines.clone() };
        let output = SinkOutput::new("slow", slow).format(format);
        let builder = Builder::new().capacity(64).overflow(Overflow::DropOldest).output(output);
        let handle = builder.init().unwrap();
        std::thread::Builder::new()
            .name("evicted".into())
            .spawn(|| {
                for number in 0..2000 {
                    unfazed::info!("number {number}");
                }
            })
            .unwrap()
            .join()
            .unwrap();
        drop(locked);
        let stats = handle.stats();
        assert!(stats.dropped.total() > 0, "{stats:?}");
        handle.flush(Duration::from_secs(60)).ok();
        let lines = lines.take(&handle);
        assert!(lines.iter().any(|line| line.ends_with("number 1999\n")), "{:?}", lines.last());
        let of_thread: Vec<_> = lines.iter().filter(|line| line.contains("number")).collect();
        assert!(of_thread.last().is_some_and(|line| line.starts_with("evicted ")), "{of_thread:?}");
        let stats = handle.stats();
        assert_eq!(stats.accepted, stats.written + stats.dropped.total() + stats.pending);
    }

    fn a_thousand_sites_log_what_is_theirs() {
        macro_rules! ten {
            ($macro:ident $($before:tt)*) => {
                $macro!($($before)* 0); $macro!($($before)* 1); $macro!($($before)* 2); $macro!($($before)* 3);
                $macro!($($before)* 4); $macro!($($before)* 5); $macro!($($before)* 6); $macro!($($before)* 7);
                $macro!($($before)* 8); $macro!($($before)* 9);
            };
        }
        macro_rules! hundreds {
            ($a:literal) => {{
                // The compiler takes longer for one function than for ten of its parts.
                fn hundred() {
                    ten!(tens $a);
                }
                hundred();
            }};
        }
        macro_rules! tens {
            ($a:literal $b:literal) => { ten!(one $a $b) };
        }
        macro_rules! one {
            ($a:literal $b:literal $c:literal) => { unfazed::info!("site {}", concat!($a, $b, $c)) };
        }
        let (handle, lines) = installed(|builder| builder);
        ten!(hundreds);
        let lines = lines.take(&handle);
        assert_eq!(lines.len(), 1000);
        for (number, line) in lines.iter().enumerate() {
            assert!(line.contains(&format!("\"site {number:03}\"")), "{line}");
        }
    }
}

/// Waits in each write until it may.
struct Slow {
    gate: Arc<Mutex<()>>,
    lines: Lines,
}

impl Sink for Slow {
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        let _open = self.gate.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.lines.write(batch)
    }
}

/// A crate whose items have the names that a macro's own text may have: a method of a trait for all
/// types is found before one that takes its receiver by `&mut`, and a pattern names a constant
/// where there is one.
#[allow(non_upper_case_globals, non_camel_case_types, dead_code, unused_variables)]
mod hostile {
    trait Everything {
        fn value(&self) -> &'static str {
            "wrong"
        }
        fn width(&self) -> usize {
            9
        }
        fn write_fmt(&self, _: ::std::fmt::Arguments<'_>) -> ::std::fmt::Result {
            Ok(())
        }
        fn log_stored(&self, _: log::Level, _: &()) -> bool {
            true
        }
        fn log_whole(&self, _: log::Level, _: ::std::fmt::Arguments<'_>, _: &[()]) {}
        fn with_keys(&self, _: &[&str]) {}
    }
    impl<T: ?Sized> Everything for T {}

    static level: u8 = 1;
    static call: u8 = 1;
    const bytes: u8 = 1;
    const text: u8 = 1;
    struct arguments;
    struct argument_0;
    struct value_0;
    mod core {}
    mod std {}
    mod log {
        pub(super) use ::log::*;
    }
    mod unfazed {}

    pub(super) fn log_everything() {
        macro_rules! both {
            ($($call:tt)+) => {{
                ::log::info!($($call)+);
                ::unfazed::info!($($call)+);
            }};
        }
        let (logger, width, list) = (2, 3, [1, 2]);
        both!("plain");
        both!("[{:5}] {:?}", 42, "a");
        both!("[{:>2$}] [{0:1$}]", 42, 3, 4);
        both!("[{:>width$}] {0}", 42);
        both!("{list:?} {:x}", 255);
        both!(user = 7, name = "n"; "{:+}", 1);
        both!(target: "t", user = 7; "{:+} {0}", 1);
        both!(logger:?; "{}", 1);
        both!(logger; "{größe} {}", 1, größe = 2);
    }
}

/// In generic code nothing is known of the types; what is passed on keeps its name and its place.
/// For clippy a call is one expression, as one of `log` is: it took the `match` for one to rewrite.
#[test]
#[warn(clippy::single_match_else)]
fn the_macros_stand_where_those_of_log_stand() {
    fn generic<T: fmt::Display + fmt::Debug>(value: T) {
        unfazed::info!("{value} {:?}", value);
    }
    macro_rules! passes_on {
        ($format:literal, $argument:expr, $name:ident) => {{
            let hidden = 1;
            unfazed::info!($format, $argument);
            unfazed::info!("{hidden} {} {other}", $argument, $name = $argument);
            unfazed::info!(target: "t", $name = $argument; "{hidden} {}", $argument)
        }};
    }
    struct Method(Cell<u32>);

    impl Method {
        fn log(&self) -> Option<u32> {
            unfazed::debug!("{:?} {}", self.0, self.0.get().checked_sub(1)?);
            unfazed::trace!("{}", self.0.get());
            Some(1)
        }
    }

    generic(1);
    generic("text");
    let hidden = 2;
    passes_on!("{} {hidden}", hidden, other);
    assert_eq!(Method(Cell::new(1)).log(), Some(1));
    match 1 {
        1 => unfazed::info!("an expression of type () {}", 1),
        _ => unfazed::info!("a statement {}", 1),
    }
}
