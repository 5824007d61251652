//! The pictures: what a call costs, and how many records reach the file.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::loggers::{Logger, is_limit, is_ours};
use crate::report::Results;

const WIDTH: u32 = 900;
const ROW: u32 = 34;
const FRAME: u32 = 110;
const OUR_COLOUR: RGBColor = RGBColor(0xD9, 0x5F, 0x02);
const RIVALS_COLOUR: RGBColor = RGBColor(0x4C, 0x72, 0xB0);
const LIMITS_COLOUR: RGBColor = RGBColor(0x88, 0x88, 0x88);

fn colour(logger: &str) -> RGBColor {
    match logger {
        limit if is_limit(limit) => LIMITS_COLOUR,
        ours if is_ours(ours) => OUR_COLOUR,
        _ => RIVALS_COLOUR,
    }
}

fn label(colour: RGBColor, size: u32, h_pos: HPos) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour).pos(Pos::new(h_pos, VPos::Center))
}

/// A row for each logger, the fastest on top: from p50 (dot) over p99 (stroke) to p99.9 (end), and
/// what one call costs that comes alone (ring). The axis is logarithmic.
pub fn latency(file: &Path, loggers: &[&Logger], results: &Results) -> Result<(), Box<dyn Error>> {
    let get = |scenario, metric, logger| results.get(scenario, metric, logger).map(|spread| spread.median);
    let mut rows: Vec<(&str, [f64; 3], Option<f64>)> = Vec::new();
    for logger in loggers {
        let burst = |metric| get("bursts W1 1 disk default", metric, logger.name);
        if let (Some(p50), Some(p99), Some(p999)) = (burst("p50"), burst("p99"), burst("p999")) {
            rows.push((logger.name, [p50, p99, p999], get("sparse W1 1 disk default", "p50", logger.name)));
        }
    }
    rows.sort_by(|a, b| b.1[0].total_cmp(&a.1[0]));
    let all = || rows.iter().flat_map(|(_, burst, sparse)| burst.iter().chain(sparse).copied());
    let (least, most) = (all().fold(f64::MAX, f64::min), all().fold(1.0, f64::max));
    if rows.is_empty() {
        return Ok(());
    }

    let area = SVGBackend::new(file, (WIDTH, FRAME + ROW * rows.len() as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("What one log call costs its caller, ns (less is better)", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(120)
        .build_cartesian_2d((least / 1.5..most * 1.5).log_scale(), 0.0..rows.len() as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_desc("bursts of 500: p50 (dot), p99 (stroke), p99.9 (end of the line); a record each 200 us: p50 (ring)")
        .x_label_formatter(&|ns| format!("{ns:.0}"))
        .draw()?;
    for (row, (name, [p50, p99, p999], sparse)) in rows.iter().enumerate() {
        let y = row as f64 + 0.5;
        let colour = colour(name);
        chart.draw_series([PathElement::new([(*p50, y), (*p999, y)], colour.stroke_width(3))])?;
        chart.draw_series([PathElement::new([(*p99, y - 0.22), (*p99, y + 0.22)], colour.stroke_width(3))])?;
        chart.draw_series([Circle::new((*p50, y), 6, colour.filled())])?;
        chart.draw_series(sparse.map(|sparse| Circle::new((sparse, y), 6, colour.stroke_width(2))))?;
        chart.draw_series([Text::new(name.to_string(), (least / 1.6, y), label(colour, 14, HPos::Right))])?;
    }
    area.present()?;
    Ok(())
}

/// Two bars for each logger: one thread and two.
pub fn throughput(file: &Path, loggers: &[&Logger], results: &Results) -> Result<(), Box<dyn Error>> {
    let get = |threads: usize, logger| {
        let spread = results.get(&format!("sustained W1 {threads} disk no-drop"), "per_second", logger);
        spread.map(|spread| spread.median / 1e6)
    };
    let mut rows: Vec<(&str, f64, f64)> = Vec::new();
    for logger in loggers {
        if let (Some(one), Some(two)) = (get(1, logger.name), get(2, logger.name)) {
            rows.push((logger.name, one, two));
        }
    }
    rows.sort_by(|a, b| a.1.total_cmp(&b.1));
    let most = rows.iter().map(|(_, one, two)| one.max(*two)).fold(0.0, f64::max);
    if rows.is_empty() {
        return Ok(());
    }

    let area = SVGBackend::new(file, (WIDTH, FRAME + ROW * rows.len() as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("Records in the file, nothing dropped, millions a second (more is better)", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(120)
        .build_cartesian_2d(0.0..most * 1.12, 0.0..rows.len() as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_max_light_lines(1)
        .x_desc("one thread (upper, dark), two threads (lower, light); the limits write nothing")
        .draw()?;
    for (row, (name, one, two)) in rows.iter().enumerate() {
        let y = row as f64;
        let colour = colour(name);
        for (value, from, style) in [(*one, 0.52, colour.filled()), (*two, 0.14, colour.mix(0.45).filled())] {
            chart.draw_series([Rectangle::new([(0.0, y + from), (value, y + from + 0.34)], style)])?;
            let place = (value + most * 0.01, y + from + 0.17);
            chart.draw_series([Text::new(format!("{value:.2}"), place, label(colour, 11, HPos::Left))])?;
        }
        chart.draw_series([Text::new(name.to_string(), (-most * 0.015, y + 0.5), label(colour, 14, HPos::Right))])?;
    }
    area.present()?;
    Ok(())
}
