//! Plots: a dot for the median of each peer and a line for its spread, on a logarithmic axis.

use crate::stats::{Spread, number};
use std::fmt::Write;

/// A peer in a group.
#[derive(Debug)]
pub struct Row {
    pub name: String,
    pub spread: Spread,
    pub ours: bool,
}

/// Rows that are compared with each other.
#[derive(Debug)]
pub struct Group {
    pub title: String,
    pub rows: Vec<Row>,
}

const WIDTH: f64 = 860.0;
const LEFT: f64 = 200.0;
const RIGHT: f64 = 150.0;
const ROW: f64 = 17.0;
const TOP: f64 = 50.0;

/// The plot, or nothing where nothing was measured.
pub fn plot(title: &str, groups: &[Group]) -> Option<String> {
    let all = || {
        groups
            .iter()
            .flat_map(|group| &group.rows)
            .map(|row| row.spread)
            .filter(|spread| spread.min > 0.0)
    };
    let least = all().map(|spread| spread.min).fold(f64::INFINITY, f64::min);
    let most = all().map(|spread| spread.max).fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let (from, to) =
        (least.log10().floor(), (most * 1.05).log10().ceil().max(least.log10().floor() + 1.0));
    let x = |value: f64| {
        LEFT + (value.max(least).log10() - from) / (to - from) * (WIDTH - LEFT - RIGHT)
    };
    let mut body = String::new();
    let mut y = TOP;
    for group in groups.iter().filter(|group| !group.rows.is_empty()) {
        y += ROW * 1.3;
        let _ = writeln!(
            body,
            r#"<text x="8" y="{y:.0}" class="group">{}</text>"#,
            escaped(&group.title)
        );
        for row in &group.rows {
            y += ROW;
            let (class, middle) = (if row.ours { "ours" } else { "peer" }, y - 4.0);
            let (min, at, max) = (x(row.spread.min), x(row.spread.median), x(row.spread.max));
            let _ = writeln!(
                body,
                r#"<text x="{:.0}" y="{y:.0}" class="{class} name">{}</text>"#,
                LEFT - 10.0,
                escaped(&row.name)
            );
            let _ = writeln!(
                body,
                r#"<line x1="{min:.1}" y1="{middle:.1}" x2="{max:.1}" y2="{middle:.1}" class="{class}"/>"#
            );
            let _ = writeln!(
                body,
                r#"<circle cx="{at:.1}" cy="{middle:.1}" r="4.5" class="{class}"/>"#
            );
            let _ = writeln!(
                body,
                r#"<text x="{:.1}" y="{y:.0}" class="{class}">{}</text>"#,
                max + 9.0,
                row.spread.shown()
            );
        }
    }
    let height = y + ROW * 1.5;
    let mut axis = String::new();
    for power in from as i32..=to as i32 {
        let value = 10f64.powi(power);
        let at = LEFT + (f64::from(power) - from) / (to - from) * (WIDTH - LEFT - RIGHT);
        let _ = writeln!(
            axis,
            r#"<line x1="{at:.1}" y1="{:.0}" x2="{at:.1}" y2="{:.0}" class="grid"/>"#,
            TOP - 4.0,
            height - ROW
        );
        let _ = writeln!(
            axis,
            r#"<text x="{at:.1}" y="{:.0}" class="tick">{}</text>"#,
            TOP - 9.0,
            number(value)
        );
    }
    Some(format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0} {height:.0}" width="{WIDTH:.0}" height="{height:.0}">
<style>
text {{ font: 12px sans-serif; fill: #333 }}
.title {{ font-size: 15px; font-weight: bold }}
.group {{ font-weight: bold }}
.name {{ text-anchor: end }}
.tick {{ text-anchor: middle; fill: #777 }}
.grid {{ stroke: #ddd }}
line.peer {{ stroke: #777; stroke-width: 2 }}
circle.peer {{ fill: #777 }}
line.ours {{ stroke: #c2410c; stroke-width: 2 }}
circle.ours {{ fill: #c2410c }}
text.ours {{ fill: #c2410c; font-weight: bold }}
</style>
<rect width="{WIDTH:.0}" height="{height:.0}" fill="#fff"/>
<text x="8" y="20" class="title">{}</text>
{axis}{body}</svg>
"##,
        escaped(title)
    ))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, values: &[f64]) -> Row {
        Row { name: name.into(), spread: Spread::of(values).unwrap(), ours: name == "ours" }
    }

    #[test]
    fn a_plot_has_a_dot_for_each_peer_in_the_order_of_their_values() {
        let rows = vec![row("ours", &[10.0, 12.0, 11.0]), row("a<b", &[2.0])];
        let svg = plot(
            "t",
            &[Group { title: "g".into(), rows }, Group { title: "none".into(), rows: Vec::new() }],
        )
        .unwrap();
        let places: Vec<f64> = svg
            .lines()
            .filter_map(|line| line.strip_prefix("<circle cx=\"")?.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(places.len(), 2);
        assert!(places[0] > places[1]);
        assert!(svg.contains("a&lt;b") && !svg.contains("none"));
    }

    #[test]
    fn nothing_is_plotted_of_nothing() {
        assert_eq!(plot("t", &[]), None);
    }
}
