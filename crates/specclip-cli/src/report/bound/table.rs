//! The tables for people: one row a layer, then one row a step of the network.

use specclip::bound::Interval;
use specclip::bound::network::{Ends, NetworkBound, Outcome, Step, Stop};

use crate::record::bound::{Layers, Network, Report, Row, gap};
use crate::report::layout::{Column, Layout};
use crate::report::number::{rounded_down, rounded_up, seconds, significant};
use crate::report::table::{
    DIGITS, cells, counted, elapsed, headline, hidden_note, join, kind, name, noted, of_values,
    shapes, skipped_lines,
};
use crate::report::text::printable;

/// Steps that are named as those from which most of the bound comes.
const MOST_NAMED: usize = 5;

/// The whole text.
pub fn render(report: &Report, columns: Option<usize>) -> String {
    let layers = &report.layers;
    let layout = Layout::new(layer_columns(layers), columns);
    let mut lines = vec![headline(&layers.settings, &asked(layers)), String::new()];
    lines.extend(layout.lines());
    lines.extend(hidden_note(&layout));
    lines.extend(skipped_lines(&layers.all_skipped(), columns));
    lines.push(String::new());
    lines.push(totals(report));
    if let Some(network) = &report.network {
        lines.push(String::new());
        lines.extend(network_lines(network, columns));
    }
    join(&lines)
}

fn asked(layers: &Layers) -> Vec<String> {
    let asked = &layers.asked;
    let arguments = match asked.arguments[..] {
        [] => "tightest argument".into(),
        [one] => format!("argument {one}"),
        _ => format!("arguments {}", asked.arguments.join(" and ")),
    };
    let failure = match asked.failure_probability {
        0.0 => "none may fail".into(),
        p => format!(
            "each may fail with probability {p:e}, seed {}",
            layers.settings.seed
        ),
    };
    vec![arguments, failure]
}

fn layer_columns(layers: &Layers) -> Vec<Column> {
    let rows = &layers.rows;
    let of = |cell: fn(&Interval) -> String| {
        cells(rows, |row: &Row| {
            of_values(row, |interval| Some(cell(interval)))
        })
    };
    let mut columns = vec![
        Column::left("layer", cells(rows, name)).shortened(),
        Column::left("kind", cells(rows, kind)).rank(4),
        Column::left("input -> output", cells(rows, shapes)).rank(5),
        Column::right("lower", of(|interval| rounded_down(interval.lower, DIGITS))),
        Column::right("upper", of(|interval| rounded_up(interval.upper, DIGITS))),
        Column::right("gap", of(percent)),
        Column::left("lower by", of(|interval| interval.lower_by.name().into())).rank(3),
        Column::left("upper by", of(|interval| interval.upper_by.name().into())),
    ];
    if layers.failure_probability() > 0.0 {
        columns.push(
            Column::right(
                "may fail",
                of(|interval| probability(interval.failure_probability)),
            )
            .rank(2),
        );
    }
    columns.push(Column::right("seconds", cells(rows, elapsed)).rank(6));
    columns
}

fn percent(interval: &Interval) -> String {
    match gap(interval) {
        None => "-".into(),
        Some(gap) => gap_text(gap),
    }
}

/// In percent, rounded up; what cannot be seen in the ends is not written out.
fn gap_text(gap: f64) -> String {
    match gap {
        0.0 => "0%".into(),
        gap if gap < 1e-5 => "<0.001%".into(),
        gap => format!("{}%", rounded_up(100.0 * gap, 2)),
    }
}

fn probability(p: f64) -> String {
    if p == 0.0 {
        "0".into()
    } else {
        format!("{}", Short(p))
    }
}

/// A probability with at most two digits, rounded up unless it is one up to rounding.
struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nearest: f64 = format!("{:.1e}", self.0).parse().unwrap_or(self.0);
        let up = rounded_up(self.0, 2).parse().unwrap_or(self.0);
        let rounded = if nearest >= self.0 * (1.0 - 1e-9) {
            nearest
        } else {
            up
        };
        write!(f, "{rounded:e}")
    }
}

fn totals(report: &Report) -> String {
    let layers = &report.layers;
    let mut parts = vec![counted(layers.rows.len(), "layer")];
    parts.extend(noted(&[
        (layers.refused(), "refused"),
        (layers.skipped.len(), "skipped"),
    ]));
    let mut gaps: Vec<f64> = layers
        .values()
        .filter_map(|(_, interval)| gap(interval))
        .collect();
    gaps.sort_by(f64::total_cmp);
    if let (Some(&median), Some(&worst)) = (gaps.get(gaps.len() / 2), gaps.last()) {
        parts.push(format!(
            "gap {} median, {} worst",
            gap_text(median),
            gap_text(worst)
        ));
    }
    let p = layers.failure_probability();
    if p > 0.0 {
        parts.push(format!(
            "any upper end fails with probability {} at most",
            Short(p)
        ));
    }
    let all = if report.network.is_some() {
        " with the network"
    } else {
        ""
    };
    parts.push(format!("{} seconds{all}", seconds(layers.elapsed)));
    parts.join(", ")
}

fn network_lines(network: &Network, columns: Option<usize>) -> Vec<String> {
    let bound = match network {
        Network::Unavailable(reason) => {
            return vec![format!("network: no bound: {}", printable(reason))];
        }
        Network::Bound { bound, .. } => bound,
    };
    let mut lines = match &bound.outcome {
        Outcome::Bounded(ends) => vec![ends_line(ends)],
        Outcome::Stopped(stops) => stop_lines(stops),
    };
    if bound.steps.is_empty() {
        return lines;
    }
    let stopped = matches!(bound.outcome, Outcome::Stopped(_));
    lines.push(if stopped {
        "the steps before that:".into()
    } else {
        String::new()
    });
    let layout = Layout::new(step_columns(bound), columns);
    lines.extend(layout.lines());
    lines.extend(hidden_note(&layout));
    lines.extend(most(&bound.steps));
    lines
}

fn ends_line(ends: &Ends) -> String {
    let upper = rounded_up(ends.upper, DIGITS);
    let failure = match ends.failure_probability {
        0.0 => String::new(),
        p => format!(" (fails with probability {} at most)", Short(p)),
    };
    match ends.lower {
        Some(lower) => format!(
            "network: linear; its norm is between {} and {upper}{failure}",
            rounded_down(lower, DIGITS)
        ),
        None => format!("network: Lipschitz constant at most {upper}{failure}"),
    }
}

fn stop_lines(stops: &[Stop]) -> Vec<String> {
    let mut lines = vec!["network: no bound; its output depends on".to_owned()];
    let mut kinds: Vec<(&Stop, usize)> = Vec::new();
    for stop in stops {
        let alike = |(first, _): &&mut (&Stop, usize)| {
            (&first.operator, &first.reason) == (&stop.operator, &stop.reason)
        };
        match kinds.iter_mut().find(alike) {
            Some((_, more)) => *more += 1,
            None => kinds.push((stop, 0)),
        }
    }
    lines.extend(kinds.into_iter().map(|(stop, more)| {
        let (name, operator) = (printable(&stop.name), printable(&stop.operator));
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        format!("  {name}{more} ({operator}): {}", printable(&stop.reason))
    }));
    lines
}

fn step_columns(bound: &NetworkBound) -> Vec<Column> {
    let of = |cell: fn(&Step) -> String| bound.steps.iter().map(cell).collect::<Vec<_>>();
    let mut columns = vec![
        Column::left("step", of(|step| printable(&step.name))).shortened(),
        Column::left("operator", of(|step| printable(&step.kind))).rank(2),
        Column::right(
            "factor",
            of(|step| {
                step.factor
                    .map_or_else(String::new, |factor| rounded_up(factor, DIGITS))
            }),
        ),
        Column::left("by", of(|step| step.reason.name().into())),
        Column::right("bound", of(|step| rounded_up(step.constant, DIGITS))),
    ];
    if bound.steps.iter().any(|step| step.contribution.is_some()) {
        columns.push(Column::right("share", of(share)).rank(1));
    }
    columns
}

fn share(step: &Step) -> String {
    step.contribution
        .map_or_else(String::new, |share| significant(share, 3))
}

/// A factor of no more than this, which the table shows as 1 or little more, raises nothing.
const RAISES: f64 = 1.01;

/// The steps whose factors raise the bound most.
fn most(steps: &[Step]) -> Option<String> {
    let mut shares: Vec<(f64, &Step)> = steps
        .iter()
        .filter_map(|step| Some((step.contribution.filter(|&share| share > RAISES)?, step)))
        .collect();
    shares.sort_by(|a, b| b.0.total_cmp(&a.0));
    let named: Vec<String> = shares
        .iter()
        .take(MOST_NAMED)
        .map(|(share, step)| {
            format!(
                "{} ({} times)",
                printable(&step.name),
                significant(*share, 3)
            )
        })
        .collect();
    (!named.is_empty()).then(|| format!("most of it comes from {}", named.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::bound::sample;
    use crate::report::text::width;

    #[test]
    fn a_bounded_network() {
        insta::assert_snapshot!(render(&sample::bounded(), None));
    }

    #[test]
    fn a_network_without_a_bound_at_80_columns() {
        insta::assert_snapshot!(render(&sample::stopped(), Some(80)));
    }

    #[test]
    fn rows_fit_wherever_they_can() {
        for columns in [70, 80, 100, 140] {
            let text = render(&sample::bounded(), Some(columns));
            let rows = text.lines().skip(2).take(6);
            assert!(
                rows.clone().all(|row| width(row) <= columns),
                "{columns}:\n{text}"
            );
        }
    }

    #[test]
    fn a_layer_description_says_why_there_is_no_network() {
        let mut report = sample::bounded();
        report.network = Some(Network::Unavailable(
            "it says nothing about connections".into(),
        ));
        let text = render(&report, None);
        assert!(
            text.contains("network: no bound: it says nothing"),
            "{text}"
        );
        report.network = None;
        assert!(!render(&report, None).contains("network"));
    }

    #[test]
    fn probabilities_are_short_and_not_too_small() {
        for (p, text) in [
            (1e-9, "1e-9"),
            (8.0 * 1e-9 + 1e-24, "8e-9"),
            (1.234e-5, "1.3e-5"),
            (0.0, "0"),
        ] {
            assert_eq!(probability(p), text);
        }
    }
}
