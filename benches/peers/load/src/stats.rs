//! Statistics of few values: medians, percentiles, ratios, and how far they spread.

/// The median; the mean of the two in the middle where their number is even. `None` of none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => sorted.get(middle).copied(),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The value below which `percent` of all are, by the nearest rank. `None` of none. `values` are sorted by it.
pub fn percentile(values: &mut [u64], percent: f64) -> Option<u64> {
    values.sort_unstable();
    let rank = (percent / 100.0 * values.len() as f64).ceil() as usize;
    values.get(rank.max(1).min(values.len()).checked_sub(1)?).copied()
}

/// A median with the least and the greatest value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub count: usize,
}

impl Spread {
    pub fn of(values: &[f64]) -> Option<Self> {
        let median = median(values)?;
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Self { median, min, max, count: values.len() })
    }

    /// As a table shows it: the spread in brackets, unless there was one value only.
    pub fn shown(self) -> String {
        if self.count == 1 {
            return number(self.median);
        }
        format!("{} ({}–{})", number(self.median), number(self.min), number(self.max))
    }
}

/// Ratios of the values of a round to those of another peer in the same round, so that what the machine did
/// besides meets both. Each list has pairs of a round and a value.
pub fn ratios(values: &[(u64, f64)], base: &[(u64, f64)]) -> Vec<f64> {
    values
        .iter()
        .filter_map(|(round, value)| {
            let (_, base) = base.iter().find(|(other, _)| other == round)?;
            (*base > 0.0).then(|| value / base)
        })
        .collect()
}

/// A number with three digits that count, and none behind the point from 100 on.
pub fn number(value: f64) -> String {
    let size = value.abs();
    let digits = match size {
        _ if size == 0.0 => 0,
        _ if size >= 100.0 => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 0.1 => 2,
        _ if size >= 0.01 => 3,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    if digits == 0 { grouped(&text) } else { text }
}

fn grouped(text: &str) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let mut out = String::from(sign);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_between_the_two_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[4.0]), Some(4.0));
        assert_eq!(median(&[9.0, 1.0, 4.0]), Some(4.0));
        assert_eq!(median(&[9.0, 1.0, 4.0, 5.0]), Some(4.5));
    }

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        assert_eq!(percentile(&mut [], 99.0), None);
        let mut hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(percentile(&mut hundred, 50.0), Some(50));
        assert_eq!(percentile(&mut hundred, 99.0), Some(99));
        assert_eq!(percentile(&mut hundred, 100.0), Some(100));
        assert_eq!(percentile(&mut [3, 2, 1], 99.0), Some(3));
        assert_eq!(percentile(&mut [7], 99.0), Some(7));
        assert_eq!(percentile(&mut [7, 8], 0.0), Some(7));
    }

    #[test]
    fn a_spread_has_both_ends() {
        let spread = Spread::of(&[2.0, 8.0, 4.0]).unwrap();
        assert_eq!(spread, Spread { median: 4.0, min: 2.0, max: 8.0, count: 3 });
        assert_eq!(spread.shown(), "4.00 (2.00–8.00)");
        assert_eq!(Spread::of(&[12_345.6]).unwrap().shown(), "12,346");
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn ratios_are_of_values_of_one_round() {
        let ours = [(1, 6.0), (2, 10.0), (3, 1.0)];
        let theirs = [(2, 5.0), (1, 2.0), (4, 1.0), (3, 0.0)];
        assert_eq!(ratios(&ours, &theirs), [3.0, 2.0]);
    }

    #[test]
    fn numbers_have_three_digits_that_count() {
        let shown: Vec<_> = [0.0, 0.0041, 0.041, 0.35, 2.566, 16.04, 202.4, 12_655.0, -1_234_567.0]
            .iter()
            .map(|n| number(*n))
            .collect();
        assert_eq!(
            shown,
            ["0", "0.0041", "0.041", "0.35", "2.57", "16.0", "202", "12,655", "-1,234,567"]
        );
    }
}
