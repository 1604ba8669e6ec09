//! Dates and times as RFC 3339 has them, to the second.

use std::fmt;
use std::str::FromStr;

/// The text is not a date and time of RFC 3339.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a date and time of RFC 3339 with years 1970 to 9999")]
pub struct InvalidTimestamp;

const DAY_S: i64 = 86_400;

/// A time, and how it was written: what was signed is the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timestamp {
    text: String,
    unix_s: u64,
}

impl Timestamp {
    /// This second of Unix time, as `2021-09-30T16:25:24Z`.
    ///
    /// # Errors
    /// After the year 9999.
    pub fn at(unix_s: u64) -> Result<Self, InvalidTimestamp> {
        let days = i64::try_from(unix_s / 86_400).map_err(|_| InvalidTimestamp)?;
        let (year, month, day) =
            date(days).filter(|date| date.0 <= 9_999).ok_or(InvalidTimestamp)?;
        let (hour, minute, second) = (unix_s / 3_600 % 24, unix_s / 60 % 60, unix_s % 60);
        let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
        Ok(Self { text, unix_s })
    }

    /// Unix seconds; a part of a second is passed over.
    pub const fn unix_s(&self) -> u64 {
        self.unix_s
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The `date-time` of RFC 3339, section 5.6. A leap second is the second after.
impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let unix_s = parse(text.as_bytes()).ok_or(InvalidTimestamp)?;
        Ok(Self { text: text.to_owned(), unix_s })
    }
}

fn parse(text: &[u8]) -> Option<u64> {
    let (date_time, rest) = text.split_at_checked(19)?;
    let is_formed = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')]
        .iter()
        .all(|(place, byte)| date_time[*place] == *byte);
    if !is_formed {
        return None;
    }
    let year = number(&date_time[..4])?;
    let month = number(&date_time[5..7]).filter(|month| (1..=12).contains(month))?;
    let day = number(&date_time[8..10]).filter(|day| (1..=days_in(year, month)).contains(day))?;
    let hour = number(&date_time[11..13]).filter(|hour| *hour < 24)?;
    let minute = number(&date_time[14..16]).filter(|minute| *minute < 60)?;
    let second = number(&date_time[17..]).filter(|second| *second <= 60)?;
    let offset_s = offset_s(fraction(rest)?)?;
    let local_s = day_of(year, month, day) * DAY_S + hour * 3_600 + minute * 60 + second;
    u64::try_from(local_s - offset_s).ok()
}

/// What follows `time-secfrac`, if there is one.
fn fraction(rest: &[u8]) -> Option<&[u8]> {
    let Some(digits) = rest.strip_prefix(b".") else { return Some(rest) };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 { None } else { Some(&digits[length..]) }
}

/// Seconds that the local time is ahead by (`time-offset`).
fn offset_s(rest: &[u8]) -> Option<i64> {
    match rest {
        b"Z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let hours = number(&[*h1, *h2]).filter(|hours| *hours < 24)?;
            let minutes = number(&[*m1, *m2]).filter(|minutes| *minutes < 60)?;
            let ahead_s = hours * 3_600 + minutes * 60;
            Some(if *sign == b'+' { ahead_s } else { -ahead_s })
        }
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
    })
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the Gregorian calendar, counted in years that begin
/// in March, so that the day of February that may be missing is the last.
const fn day_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

/// The date of a day since 1970-01-01. Years without end are none.
fn date(days: i64) -> Option<(i64, i64, i64)> {
    let days = days.checked_add(719_468)?;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12 + 1;
    Some((era * 400 + year_of_era + i64::from(month <= 2), month, day))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_forms_of_rfc_3339() {
        let cases = [
            ("1970-01-01T00:00:00Z", 0),
            ("2021-09-30T16:25:24Z", 1_633_019_124),
            ("2021-09-30T16:25:24.000Z", 1_633_019_124),
            ("2021-09-30T18:25:24.999999999999+02:00", 1_633_019_124),
            // The examples of section 5.8, but for that of 1937.
            ("1985-04-12T23:20:50.52Z", 482_196_050),
            ("1996-12-19T16:39:57-08:00", 851_042_397),
            ("1990-12-31T23:59:60Z", 662_688_000),
            ("1990-12-31T15:59:60-08:00", 662_688_000),
            ("2000-02-29T00:00:00Z", 951_782_400),
            ("1970-01-01T00:00:00-00:00", 0),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ];
        for (text, unix_s) in cases {
            let read: Timestamp = text.parse().unwrap();
            assert_eq!((read.unix_s(), read.as_str()), (unix_s, text));
        }
    }

    #[test]
    fn refuses_other_forms() {
        let cases = [
            "",
            "2021-09-30",
            "2021-09-30T16:25:24",
            "2021-09-30 16:25:24Z",
            "2021-09-30t16:25:24Z",
            "2021-09-30T16:25:24z",
            "2021-9-30T16:25:24Z",
            "2021-09-31T16:25:24Z",
            "2021-02-29T16:25:24Z",
            "1900-02-29T16:25:24Z",
            "2021-00-30T16:25:24Z",
            "2021-13-30T16:25:24Z",
            "2021-09-00T16:25:24Z",
            "2021-09-30T24:25:24Z",
            "2021-09-30T16:60:24Z",
            "2021-09-30T16:25:61Z",
            "2021-09-30T16:25:24.Z",
            "2021-09-30T16:25:24+02",
            "2021-09-30T16:25:24+0200",
            "2021-09-30T16:25:24+24:00",
            "2021-09-30T16:25:24+02:60",
            "2021-09-30T16:25:24Z ",
            "+021-09-30T16:25:24Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "1937-01-01T12:00:27.87+00:20",
            "Wed Oct 05 2011 16:48:00 GMT+0200 (CEST)",
            "20210930T162524Z",
            "2021-09-30T16:25:2éZ",
        ];
        for text in cases {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTimestamp), "{text}");
        }
        for unix_s in [253_402_300_800, u64::MAX] {
            assert_eq!(Timestamp::at(unix_s), Err(InvalidTimestamp));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(unix_s in 0..253_402_300_800_u64) {
            let at = Timestamp::at(unix_s).unwrap();
            prop_assert_eq!(at.as_str().parse::<Timestamp>().unwrap(), at);
        }

        /// A day after a day is the next day of the calendar.
        #[test]
        fn days_follow_each_other(days in 0..2_932_896_i64) {
            let (year, month, day) = date(days).unwrap();
            prop_assert_eq!(day_of(year, month, day), days);
            let next = match (month, day == days_in(year, month)) {
                (12, true) => (year + 1, 1, 1),
                (_, true) => (year, month + 1, 1),
                (_, false) => (year, month, day + 1),
            };
            prop_assert_eq!(date(days + 1), Some(next));
        }

        #[test]
        fn nonsense_does_not_panic(text in "\\PC{0,40}|[0-9T:.Z+-]{0,40}") {
            let _ = text.parse::<Timestamp>();
        }
    }
}
