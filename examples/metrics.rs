//! A page of metrics for Prometheus: `cargo run --example metrics`, then
//! `curl http://127.0.0.1:9184/metrics`.
//!
//! With a number as its argument it answers so many requests and ends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use unfazed::{Builder, Console};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let requests = std::env::args().nth(1).map_or(Ok(usize::MAX), |number| number.parse())?;
    let handle = Builder::new().console(Console::stderr()).init()?;
    let listener = TcpListener::bind("127.0.0.1:9184")?;
    log::info!("http://127.0.0.1:9184/metrics");
    for connection in listener.incoming().take(requests) {
        let mut connection = connection?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut request = String::new();
        BufReader::new(&connection).read_line(&mut request)?;
        let (status, page) = match request.split(' ').nth(1) {
            Some("/metrics") => ("200 OK", handle.stats().to_prometheus()),
            _ => ("404 Not Found", String::new()),
        };
        log::info!(status; "{}", request.trim_end());
        write!(
            connection,
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{page}",
            page.len()
        )?;
    }
    Ok(())
}
