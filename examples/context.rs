//! A server on one thread whose records say which request they belong to: `cargo run --example
//! context`.
//!
//! Each request is a task in a scope of its own, and a part of it in a scope inside. The context of
//! the logger adds how many requests are under way.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use log::{info, warn};
use unfazed::{Builder, Console, Format};

static UNDER_WAY: AtomicU32 = AtomicU32::new(0);

async fn serve(path: &str) {
    UNDER_WAY.fetch_add(1, Relaxed);
    info!("GET {path}");
    // Wherever the task goes on, its records are in its scope.
    tokio::time::sleep(Duration::from_millis(20)).await;
    unfazed::scope([("table", "users")]).future(query()).await;
    info!("done");
    UNDER_WAY.fetch_sub(1, Relaxed);
}

async fn query() {
    tokio::time::sleep(Duration::from_millis(5)).await;
    warn!(ms = 5; "a slow query");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    Builder::new()
        .console(Console::stdout())
        .format(Format::logfmt().field("service", "shop"))
        .context(|fields| fields.add("under_way", UNDER_WAY.load(Relaxed)))
        .init()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let requests = [(1, "/"), (2, "/users"), (3, "/cart")].map(|(id, path)| {
            let request = unfazed::scope([("request_id", id)]).future(serve(path));
            tokio::spawn(request)
        });
        for request in requests {
            let _ = request.await;
        }
    });
    Ok(())
}
