//! Latencies of many operations, and percentiles of them.

use std::time::Duration;

/// Latencies, kept one by one: a run has some hundred thousand at most.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    nanos: Vec<u64>,
}

impl Histogram {
    /// Adds one latency.
    pub fn add(&mut self, latency: Duration) {
        self.nanos.push(latency.as_nanos() as u64);
    }

    /// How many were added.
    pub fn len(&self) -> u64 {
        self.nanos.len() as u64
    }

    /// The latency in microseconds that this fraction of the operations did not exceed.
    pub fn percentile(&mut self, fraction: f64) -> Option<f64> {
        let rank = ((self.nanos.len() as f64 * fraction).ceil() as usize).checked_sub(1)?;
        let (_, value, _) = self.nanos.select_nth_unstable(rank);
        Some(*value as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(0.5), None);
        for micros in (1..=100).rev() {
            histogram.add(Duration::from_micros(micros));
        }
        assert_eq!(histogram.percentile(0.5), Some(50.0));
        assert_eq!(histogram.percentile(0.99), Some(99.0));
        assert_eq!(histogram.percentile(1.0), Some(100.0));
    }
}
