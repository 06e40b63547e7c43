//! Windows in which nothing is applied.
//!
//! Weekly windows have local times at a fixed offset from UTC, which the window states: where clocks
//! change twice a year, it is the offset that an operator chose that counts, not the season's.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Datelike as _, Duration, NaiveTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Role;
use crate::fault::FieldError;

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Weekday {
    /// Every day, from Monday.
    pub const ALL: [Self; 7] =
        [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];

    fn is(self, day: chrono::Weekday) -> bool {
        self as u32 == day.num_days_from_monday()
    }
}

/// A time of day in minutes: `HH:MM`, from `00:00` to `24:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LocalTime(u16);

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// `HH:MM`, both of two digits.
fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |digits: &str| {
        let shaped = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        shaped.then(|| digits.parse::<u16>().ok()).flatten()
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (minutes < 60 && hours * 60 + minutes <= DAY).then_some(hours * 60 + minutes)
}

impl TryFrom<String> for LocalTime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        minutes(&text).map(Self).ok_or_else(|| {
            let text: String = text.chars().take(40).collect();
            format!("{text:?} is not a time of day: expected HH:MM, from 00:00 to 24:00")
        })
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl From<LocalTime> for String {
    fn from(time: LocalTime) -> Self {
        time.to_string()
    }
}

/// How far a local time is ahead of UTC: `+09:00`, `-03:30`, or `Z`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UtcOffset(i16);

/// No place is further from UTC, in minutes.
const FARTHEST: u16 = 14 * 60;

impl TryFrom<String> for UtcOffset {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "Z" {
            return Ok(Self(0));
        }
        let read = |rest: &str| minutes(rest).filter(|m| *m <= FARTHEST)?.try_into().ok();
        let offset: Option<i16> = match text.split_at_checked(1) {
            Some(("+", rest)) => read(rest),
            Some(("-", rest)) => read(rest).map(|minutes: i16| -minutes),
            _ => None,
        };
        offset.map(Self).ok_or_else(|| {
            let text: String = text.chars().take(40).collect();
            format!(
                "{text:?} is not an offset from UTC: expected Z, or +HH:MM or -HH:MM up to 14:00"
            )
        })
    }
}

impl fmt::Display for UtcOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { '-' } else { '+' };
        let ahead = self.0.unsigned_abs();
        write!(f, "{sign}{:02}:{:02}", ahead / 60, ahead % 60)
    }
}

impl From<UtcOffset> for String {
    fn from(offset: UtcOffset) -> Self {
        offset.to_string()
    }
}

/// When nothing is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FreezeWhen {
    /// From one moment to another.
    Once {
        /// The first moment.
        from: DateTime<Utc>,
        /// The moment at which it is over.
        to: DateTime<Utc>,
    },
    /// Every week.
    Weekly {
        /// The days on which it begins.
        days: Vec<Weekday>,
        /// When it begins.
        #[schema(value_type = String, pattern = "^([01][0-9]|2[0-4]):[0-5][0-9]$")]
        #[schemars(with = "String", regex(pattern = r"^([01][0-9]|2[0-4]):[0-5][0-9]$"))]
        from: LocalTime,
        /// When it is over; on the next day, unless that is later than `from`.
        #[schema(value_type = String, pattern = "^([01][0-9]|2[0-4]):[0-5][0-9]$")]
        #[schemars(with = "String", regex(pattern = r"^([01][0-9]|2[0-4]):[0-5][0-9]$"))]
        to: LocalTime,
        /// How far these times are ahead of UTC, all year; `Z` when absent.
        #[serde(default)]
        #[schema(value_type = String, pattern = "^(Z|[+-][01][0-9]:[0-5][0-9])$")]
        #[schemars(with = "String", regex(pattern = r"^(Z|[+-][01][0-9]:[0-5][0-9])$"))]
        utc_offset: UtcOffset,
    },
}

/// A time in which nothing is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FreezeWindow {
    /// When.
    pub when: FreezeWhen,
    /// Why, for those who wait.
    #[schema(max_length = 200)]
    #[schemars(length(max = 200))]
    pub reason: String,
    /// A plan that somebody with one of these roles approved is applied all the same.
    #[serde(default)]
    pub except_roles: Vec<Role>,
}

impl FreezeWindow {
    /// What is wrong with it, if anything.
    pub(super) fn problems(&self, at: &str) -> Vec<FieldError> {
        let mut problems = Vec::new();
        let mut wrong = |field: &str, why: &str| {
            problems.push(FieldError::at(format!("{at}/{field}"), why));
        };
        if self.reason.trim().is_empty() || self.reason.chars().count() > 200 {
            wrong("reason", "a reason of 1 to 200 characters is required");
        }
        match &self.when {
            FreezeWhen::Once { from, to } if to <= from => {
                wrong("when/to", "to must be after from");
            }
            FreezeWhen::Weekly { days, .. } if days.is_empty() || days.len() > 7 => {
                wrong("when/days", "1 to 7 days are required");
            }
            _ => {}
        }
        problems
    }

    /// The end of the window, if it is open at `moment`.
    fn end(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.when {
            FreezeWhen::Once { from, to } => (*from <= moment && moment < *to).then_some(*to),
            FreezeWhen::Weekly { days, from, to, utc_offset } => {
                let ahead = Duration::minutes(utc_offset.0.into());
                let local = moment.naive_utc().checked_add_signed(ahead)?;
                let minutes = |time: &LocalTime| Duration::minutes(time.0.into());
                // It began today or, when it goes over midnight, yesterday (at 24:00, the day before).
                let begun = (0..=2).filter_map(|back| {
                    let day = local.date().checked_sub_days(chrono::Days::new(back))?;
                    if !days.iter().any(|d| d.is(day.weekday())) {
                        return None;
                    }
                    let midnight = day.and_time(NaiveTime::MIN);
                    let over = if to <= from { Duration::days(1) } else { Duration::zero() };
                    let start = midnight.checked_add_signed(minutes(from))?;
                    let end = midnight.checked_add_signed(minutes(to) + over)?;
                    (start <= local && local < end).then(|| (end - ahead).and_utc())
                });
                begun.max()
            }
        }
    }

    fn spares(&self, approvers: &[&BTreeSet<Role>]) -> bool {
        approvers.iter().any(|roles| self.except_roles.iter().any(|role| roles.contains(role)))
    }
}

/// Nothing is applied now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Frozen {
    /// Not before this moment.
    pub until: DateTime<Utc>,
    /// Why.
    pub reason: String,
}

/// Windows that follow each other are gone through this far. It is looked at again at the end.
const STEPS: usize = 64;

/// Whether a plan that people with these roles approved is kept from being applied, and until when.
/// Windows that follow each other without a gap are one.
pub fn frozen(
    windows: &[FreezeWindow],
    approvers: &[&BTreeSet<Role>],
    now: DateTime<Utc>,
) -> Option<Frozen> {
    let kept: Vec<_> = windows.iter().filter(|window| !window.spares(approvers)).collect();
    let mut found: Option<Frozen> = None;
    for _ in 0..STEPS {
        let at = found.as_ref().map_or(now, |frozen| frozen.until);
        let open = kept.iter().filter_map(|window| Some((window.end(at)?, *window)));
        let Some((until, window)) = open.max_by_key(|(until, _)| *until) else { break };
        let reason = found.map_or_else(|| window.reason.clone(), |before| before.reason);
        found = Some(Frozen { until, reason });
    }
    found
}
