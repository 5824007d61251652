//! `Stats::to_prometheus`: the account as a page of metrics. Pure; any thread.

use std::fmt::Write as _;

use crate::event::State;
use crate::stats::{DropReason, Dropped, OutputStats, Stats};

impl Stats {
    /// Returns the account in the text format of Prometheus (version 0.0.4): a page for `/metrics`.
    ///
    /// Counters end in `_total`. What belongs to one output has the label `output`, what was
    /// dropped the label `reason`. `unfazed_output_up` is 1 while an output is not suspended.
    ///
    /// ```
    /// # let (logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
    /// let page = handle.stats().to_prometheus();
    /// assert!(page.contains("unfazed_records_accepted_total 0\n"));
    /// assert!(page.contains("unfazed_output_up{output=\"/dev/null\"} 1\n"));
    /// # Ok::<(), unfazed::InitError>(())
    /// ```
    pub fn to_prometheus(&self) -> String {
        let mut page = Page::default();
        let whole: [(&str, &str, u64); 5] = [
            ("accepted", "Records that passed the filter and that an output wants.", self.accepted),
            ("written", "Records that an output has written.", self.written),
            ("truncated", "Records that were written and cut.", self.truncated),
            ("suppressed", "Records that a limit suppressed.", self.suppressed),
            ("pending", "Records in the queue, in the writer's hands, or retained.", self.pending),
        ];
        for (name, help, value) in whole {
            let is_gauge = name == "pending";
            let name = if is_gauge { format!("records_{name}") } else { format!("records_{name}_total") };
            page.metric(&name, help);
            page.sample(&name, &[], value as f64);
        }
        page.metric("records_dropped_total", "Records that no output has, by reason.");
        page.dropped("records_dropped_total", None, &self.dropped);
        page.metric("written_bytes_total", "Bytes that the outputs have written.");
        page.sample("written_bytes_total", &[], self.written_bytes as f64);
        self.outputs_to(&mut page);
        page.text
    }

    fn outputs_to(&self, page: &mut Page) {
        type Value = fn(&OutputStats) -> f64;
        let each: [(&str, &str, Value); 9] = [
            ("output_up", "1 while the output is not suspended or closed.", |output| {
                f64::from(u8::from(matches!(output.state, State::Healthy | State::Low)))
            }),
            ("output_offered_total", "Records that the output was offered.", |output| output.offered as f64),
            ("output_written_total", "Records that the output has written.", |output| output.written as f64),
            ("output_pending", "Records that the output has still to write.", |output| output.pending as f64),
            ("output_written_bytes_total", "Bytes that the output has written.", |output| output.bytes as f64),
            ("output_notices_total", "Lines of the crate's own.", |output| output.notices as f64),
            ("output_failures_total", "Failures without a suspension.", |output| output.failures as f64),
            ("output_suspensions_total", "Suspensions.", |output| output.suspensions as f64),
            ("output_suspended_seconds_total", "Time suspended.", |output| output.time_suspended.as_secs_f64()),
        ];
        for (name, help, value) in each {
            page.metric(name, help);
            for output in &self.outputs {
                page.sample(name, &[("output", &output.name)], value(output));
            }
        }
        page.metric("output_dropped_total", "Records that the output has dropped, by reason.");
        for output in &self.outputs {
            page.dropped("output_dropped_total", Some(&output.name), &output.dropped);
        }
    }
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    /// Begins a metric: a counter if its name ends in `_total`, otherwise a gauge.
    fn metric(&mut self, name: &str, help: &str) {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        // Writing to a text does not fail.
        let _ = writeln!(self.text, "# HELP unfazed_{name} {help}\n# TYPE unfazed_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.text, "unfazed_{name}");
        for (number, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{}{label}=\"{text}\"", if number == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn dropped(&mut self, name: &str, output: Option<&str>, dropped: &Dropped) {
        for reason in DropReason::ALL {
            let records = dropped.by_reason(reason);
            let reason = ("reason", reason.word());
            match output {
                Some(output) => self.sample(name, &[("output", output), reason], records as f64),
                None => self.sample(name, &[reason], records as f64),
            }
        }
    }
}
