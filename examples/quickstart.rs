//! The three lines: a logger to a file, installed for the whole program.
//!
//! `cargo run --example quickstart` writes `quickstart.log` into the temporary directory and shows
//! what is in it.

#![allow(clippy::print_stdout)] // an example shows what it did

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join("quickstart.log");

    unfazed::Builder::new().file(&path).init()?;
    log::info!("hello");
    log::warn!(user = "anna", attempts = 3; "login failed");

    log::logger().flush();
    print!("{}", std::fs::read_to_string(&path)?);
    Ok(())
}
