//! Figures: one JSON line each on standard output, which holds nothing else.

use serde::Serialize;

/// One result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figure {
    bench: &'static str,
    name: String,
    unit: &'static str,
    peer: Option<f64>,
    ours: f64,
    ratio: Option<f64>,
}

impl Figure {
    /// A figure that has nothing to be compared with.
    pub(crate) fn alone(bench: &'static str, name: String, unit: &'static str, ours: f64) -> Self {
        Self { bench, name, unit, peer: None, ours: rounded(ours), ratio: None }
    }

    /// A figure beside that of a peer.
    pub(crate) fn beside(
        bench: &'static str,
        name: String,
        unit: &'static str,
        peer: f64,
        ours: f64,
    ) -> Self {
        // A peer of nothing is no peer: JSON has no infinity.
        let ratio = (peer > 0.0).then(|| rounded(ours / peer));
        Self { bench, name, unit, peer: Some(rounded(peer)), ours: rounded(ours), ratio }
    }

    /// Prints it.
    pub(crate) fn print(&self) -> anyhow::Result<()> {
        println!("{}", serde_json::to_string(self)?);
        Ok(())
    }
}

/// Three decimals; there is no more truth in a measurement.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_have_the_documented_form() {
        let line = |figure: Figure| serde_json::to_string(&figure).unwrap();
        assert_eq!(
            line(Figure::beside("b", "cold_1".into(), "ms", 1000.0, 1040.04)),
            r#"{"bench":"b","name":"cold_1","unit":"ms","peer":1000.0,"ours":1040.04,"ratio":1.04}"#
        );
        assert_eq!(
            line(Figure::alone("b", "x".into(), "1/s", 2.000_04)),
            r#"{"bench":"b","name":"x","unit":"1/s","peer":null,"ours":2.0,"ratio":null}"#
        );
        let nothing = line(Figure::beside("b", "x".into(), "ms", 0.0, 1.0));
        assert!(nothing.ends_with(r#""ratio":null}"#), "{nothing}");
    }
}
