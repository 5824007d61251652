//! What stands above every number: machine, compiler, commit, date.
#![allow(clippy::print_stdout)]

use std::process::Command;

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

pub(crate) fn print_header(command: &str) {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("command:  {command}");
    println!("machine:  {}, {cores} cores, {}", model.trim_start_matches(['\t', ' ', ':']), said("uname", &["-sr"]));
    println!("compiler: {}", said("rustc", &["--version"]));
    println!("commit:   {}", said("git", &["describe", "--always", "--dirty"]));
    println!("date:     {}", said("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]));
    println!();
}
