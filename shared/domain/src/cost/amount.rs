//! Exact decimal numbers: money, prices, quantities, rates. Never a float.

use std::fmt;
use std::str::FromStr;

use rust_decimal::prelude::ToPrimitive as _;
use rust_decimal::{Decimal, RoundingStrategy};
use schemars::JsonSchema;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// An exact decimal number. In JSON it is a text, e.g. `"70.08"`; a JSON number is understood too.
///
/// Its size is at most 10²¹ with at most 12 digits behind the point, so that sums are exact in any
/// order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, ToSchema, JsonSchema)]
#[schema(value_type = String, example = "70.08")]
#[schemars(transparent)]
pub struct Amount(#[schemars(with = "String")] Decimal);

/// Digits behind the point that are kept.
const SCALE: u32 = 12;

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// The largest size that is taken.
    fn bound() -> Decimal {
        Decimal::from_i128_with_scale(1_000_000_000_000_000_000_000, 0)
    }

    /// From a decimal; none if it is too large.
    pub fn new(value: Decimal) -> Option<Self> {
        let kept = value.round_dp_with_strategy(SCALE, RoundingStrategy::MidpointAwayFromZero);
        (kept.abs() <= Self::bound()).then(|| Self(kept.normalize()))
    }

    /// The number.
    pub const fn decimal(self) -> Decimal {
        self.0
    }

    /// From a whole number.
    pub fn whole(value: u32) -> Self {
        Self(Decimal::from(value))
    }

    /// Reads `-12.5` or `1.2e-7`; no signs of grouping, no words such as `NaN`.
    ///
    /// # Errors
    /// It is no such text, or the number is too large.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.len() > 64 {
            return Err("it is longer than 64 characters".to_owned());
        }
        if !text
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'))
        {
            return Err(format!("`{text}` is not a decimal number"));
        }
        let parsed = if text.contains(['e', 'E']) {
            Decimal::from_scientific(text)
        } else {
            Decimal::from_str(text)
        };
        let value = parsed.map_err(|_| format!("`{text}` is not a decimal number"))?;
        Self::new(value).ok_or_else(|| format!("`{text}` is too large"))
    }

    /// A number of a JSON document. Its shortest text is the one that was written, as long as it had
    /// at most 15 digits.
    pub fn of_json(value: &serde_json::Value) -> Option<Self> {
        match value {
            serde_json::Value::Number(number) => Self::parse(&number.to_string()).ok(),
            serde_json::Value::String(text) => Self::parse(text).ok(),
            _ => None,
        }
    }

    /// The sum; stops at the largest size.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let sum = self.0.checked_add(other.0).and_then(Self::new);
        sum.unwrap_or_else(|| {
            Self(if self.0.is_sign_negative() { -Self::bound() } else { Self::bound() })
        })
    }

    /// The difference; stops at the largest size.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.plus(Self(-other.0))
    }

    /// The product; none if it is too large.
    #[must_use]
    pub fn times(self, other: Self) -> Option<Self> {
        self.0.checked_mul(other.0).and_then(Self::new)
    }

    /// The quotient to 12 digits; none by zero or if it is too large.
    #[must_use]
    pub fn by(self, other: Self) -> Option<Self> {
        self.0.checked_div(other.0).and_then(Self::new)
    }

    /// Whether it is less than nothing.
    pub fn is_negative(self) -> bool {
        self.0.is_sign_negative() && !self.0.is_zero()
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// As people read money: rounded to two digits, half away from zero.
    pub fn shown(self) -> String {
        let rounded = self.0.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
        let rounded = if rounded.is_zero() { Decimal::ZERO } else { rounded };
        format!("{rounded:.2}")
    }

    /// The same with its sign, for differences.
    pub fn shown_signed(self) -> String {
        let text = self.shown();
        if text.starts_with('-') || text == "0.00" { text } else { format!("+{text}") }
    }

    /// The whole part, if it fits.
    pub fn to_u64(self) -> Option<u64> {
        self.0.to_u64()
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

struct Reader;

impl Visitor<'_> for Reader {
    type Value = Amount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a decimal number, as a text such as \"70.08\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
        Amount::parse(text).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Amount, E> {
        Amount::parse(&value.to_string()).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Amount, E> {
        Amount::parse(&value.to_string()).map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Amount, E> {
        Amount::parse(&value.to_string()).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn amount(text: &str) -> Amount {
        Amount::parse(text).unwrap()
    }

    #[test]
    fn texts_and_numbers_are_read_and_nonsense_is_not() {
        for (given, same) in
            [("70.08", "70.08"), ("1e-7", "0.0000001"), ("-0.50", "-0.5"), ("5", "5")]
        {
            assert_eq!(amount(given).to_string(), same);
        }
        for bad in
            ["", "NaN", "inf", "1,5", "0x10", "1e40", "1e22", "--1", "1 2", "9".repeat(65).as_str()]
        {
            assert!(Amount::parse(bad).is_err(), "{bad}");
        }
        let read: Vec<Amount> = serde_json::from_str(r#"["0.0116", 0.0116, 3, -1]"#).unwrap();
        assert_eq!(read[0], read[1]);
        assert_eq!(serde_json::to_string(&read[2]).unwrap(), "\"3\"");
        assert!(serde_json::from_str::<Amount>("null").is_err());
        assert!(serde_json::from_str::<Amount>("true").is_err());
        assert!(serde_json::from_str::<Amount>("1e300").is_err());
    }

    #[test]
    fn money_is_rounded_only_when_it_is_shown() {
        assert_eq!(amount("2.345").shown(), "2.35");
        assert_eq!(amount("-2.345").shown(), "-2.35");
        assert_eq!(amount("-0.001").shown(), "0.00");
        assert_eq!(amount("7").shown_signed(), "+7.00");
        assert_eq!(Amount::ZERO.shown_signed(), "0.00");
        assert_eq!(amount("1").by(amount("3")).unwrap().to_string(), "0.333333333333");
        assert_eq!(amount("1").by(Amount::ZERO), None);
        assert_eq!(amount("1e20").times(amount("1e20")), None);
        assert_eq!(amount("1e21").plus(amount("1e21")), amount("1e21"));
        assert_eq!(amount("-1e21").minus(amount("1e21")), amount("-1e21"));
    }

    #[test]
    fn it_is_a_text_in_both_schemas() {
        let mcp = serde_json::to_value(schemars::schema_for!(Amount)).unwrap();
        assert_eq!(mcp["type"], "string", "{mcp}");
        let rest = serde_json::to_value(<Amount as utoipa::PartialSchema>::schema()).unwrap();
        assert_eq!(rest["type"], "string", "{rest}");
    }

    proptest! {
        #[test]
        fn sums_are_exact_in_any_order(mut parts in prop::collection::vec(-1_000_000_000_000_i64..1_000_000_000_000, 0..40)) {
            let sum = |parts: &[i64]| parts.iter().fold(Amount::ZERO, |sum, n| {
                sum.plus(Amount::new(Decimal::new(*n, 9)).unwrap())
            });
            let first = sum(&parts);
            parts.reverse();
            prop_assert_eq!(first, sum(&parts));
            prop_assert_eq!(first.decimal(), Decimal::from_i128_with_scale(parts.iter().map(|n| i128::from(*n)).sum(), 9));
        }

        #[test]
        fn text_comes_back_equal(n in any::<i64>(), scale in 0_u32..12) {
            let first = Amount::new(Decimal::new(n, scale)).unwrap();
            prop_assert_eq!(Amount::parse(&first.to_string()).unwrap(), first);
        }
    }
}
