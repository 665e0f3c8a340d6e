//! A point in time.

use std::fmt;

use super::text::text_value;

/// A second of Coordinated Universal Time, from 1970 to 9999, written as RFC 3339 has it with `Z` at the end:
/// `2027-01-31T18:00:00Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcTime(u64);

text_value!(
    UtcTime,
    "time",
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
    "2027-01-31T18:00:00Z"
);

const FORM: &str = "must be a time in UTC such as 2027-01-31T18:00:00Z, from 1970 to 9999";
const DAY: u64 = 86_400;
/// Days in four hundred years, after which the calendar repeats.
const CYCLE: u64 = 146_097;
/// Days from the first of March of the year 0 to 1970.
const EPOCH: u64 = 719_468;

impl UtcTime {
    /// So many seconds after the beginning of 1970.
    pub const fn from_unix(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Seconds since the beginning of 1970.
    pub const fn unix(self) -> u64 {
        self.0
    }

    fn check(text: &str) -> Result<u64, &'static str> {
        let bytes = text.as_bytes();
        let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')];
        let formed = bytes.len() == 20 && marks.iter().all(|(at, is)| bytes.get(*at) == Some(is));
        let number = |from: usize, to: usize| -> Result<u64, &'static str> {
            let digits = text.get(from..to).filter(|it| it.bytes().all(|b| b.is_ascii_digit()));
            digits.and_then(|it| it.parse().ok()).ok_or(FORM)
        };
        if !formed {
            return Err(FORM);
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let fits = year >= 1970
            && (1..=12).contains(&month)
            && (1..=days_of(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        if !fits {
            return Err(FORM);
        }
        Ok(days_to(year, month, day) * DAY + hour * 3600 + minute * 60 + second)
    }
}

fn days_of(year: u64, month: u64) -> u64 {
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970 to a date; years are counted from March, so that the leap day is a year's last.
fn days_to(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let in_cycle = year % 400;
    let of_year = (153 * month + 2) / 5 + day - 1;
    let of_cycle = in_cycle * 365 + in_cycle / 4 - in_cycle / 100 + of_year;
    year / 400 * CYCLE + of_cycle - EPOCH
}

/// The date so many days after 1970.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH;
    let (cycle, rest) = (days / CYCLE, days % CYCLE);
    let year = (rest - rest / 1460 + rest / 36_524 - rest / 146_096) / 365;
    let of_year = rest - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (cycle * 400 + year + later, month, day)
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0 / DAY);
        let of_day = self.0 % DAY;
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times_are_those_of_the_calendar() {
        for (text, unix) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-11-27T09:23:44Z", 1_795_771_424),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            let time: UtcTime = text.parse().unwrap();
            assert_eq!((time.unix(), time.to_string().as_str()), (unix, text));
        }
        for bad in [
            "",
            "2026-11-27",
            "2026-11-27T09:23:44",
            "2026-11-27T09:23:44+01:00",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "1969-12-31T23:59:59Z",
            "+026-01-01T00:00:00Z",
        ] {
            assert!(bad.parse::<UtcTime>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_second_is_written_and_read(seconds in 0_u64..=253_402_300_799) {
            let time = UtcTime::from_unix(seconds);
            prop_assert_eq!(time.to_string().parse::<UtcTime>().unwrap(), time);
        }
    }
}
