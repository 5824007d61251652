//! One record in each of the JSON formats, as the log engines read them.
//!
//! `cargo run --example json` prints lines for `jq`: `cargo run --quiet --example json | jq .`

use std::time::Duration;

use unfazed::{Builder, Console, FlushError, Format};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let service = |format: Format| format.field("service.name", "shop").field("service.version", "1.2.0");
    let formats = [
        Format::json().thread().location(),
        service(Format::otel()),
        service(Format::ecs()),
        service(Format::gelf()).field("host", "web-1"),
        service(Format::google_cloud()),
    ];
    // One logger after the other: `build` installs none, and a record can name the one that it is
    // for.
    for format in formats {
        let (logger, handle) = Builder::new().console(Console::stdout().format(format)).build()?;
        log::set_max_level(logger.max_level());
        log::warn!(logger: &logger, user = "anna", attempts = 3, seconds = 1.5, locked = true; "login failed:\n\"bad password\"");
        match handle.shutdown(Duration::from_secs(5)) {
            // Nobody reads any more, as after `| head -1`.
            Ok(()) | Err(FlushError::Suspended(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
