//! An independent reading of cron fields and of the documented rule for clocks that jump.

use chrono::{DateTime, Datelike, Duration as Span, NaiveDateTime, Offset, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use keywheel::moment::Moment;
use keywheel::schedule::Calendar;
use std::time::Duration;

/// One field as the set of its values, a bit each; `None` is a bare star.
type Field = Option<u64>;

pub struct Cron([Field; 6]);

impl Cron {
    pub fn read(text: &str) -> Self {
        let mut fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() == 5 {
            fields.insert(0, "0");
        }
        let limits = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7)];
        let mut read = fields.iter().zip(limits).map(|(field, limit)| values(field, limit));
        Self(std::array::from_fn(|_| read.next().unwrap()))
    }

    fn matches(&self, wall: NaiveDateTime) -> bool {
        let has = |place: usize, value: u32| self.0[place].is_none_or(|set| set >> value & 1 == 1);
        let weekday = wall.weekday().num_days_from_sunday();
        let (day, week) = (has(3, wall.day()), has(5, weekday) || (weekday == 0 && has(5, 7)));
        let date = if self.0[3].is_some() && self.0[5].is_some() { day || week } else { day && week };
        date && has(0, wall.second()) && has(1, wall.minute()) && has(2, wall.hour()) && has(4, wall.month())
    }
}

fn values(field: &str, (low, high): (u32, u32)) -> Field {
    if field == "*" {
        return None;
    }
    let mut set = 0;
    for part in field.split(',') {
        let (range, step) = part.split_once('/').unwrap_or((part, "1"));
        let (from, to) = match (range, range.split_once('-')) {
            ("*", _) => (low, high),
            (_, Some((from, to))) => (from.parse().unwrap(), to.parse().unwrap()),
            (one, None) => (one.parse().unwrap(), one.parse().unwrap()),
        };
        for value in (from..=to).step_by(step.parse().unwrap()) {
            set |= 1 << value;
        }
    }
    Some(set)
}

/// Watches the zone's clock tick by tick. A wall-clock time happens when the clock first shows it or jumps past it.
pub struct Watch {
    pub zone: Tz,
    /// Each instant at which times happened that had not happened before: the first and last of them.
    pub ticks: Vec<(DateTime<Utc>, NaiveDateTime, NaiveDateTime)>,
    pub tick: Span,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
}

impl Watch {
    /// Begins two days early, so that a clock turned back just before `from` is known.
    pub fn new(zone: Tz, from: DateTime<Utc>, until: DateTime<Utc>, tick: Span) -> Self {
        let show = |at: DateTime<Utc>| at.naive_utc() + zone.offset_from_utc_datetime(&at.naive_utc()).fix();
        let mut at = from - Span::days(2);
        let mut furthest = show(at);
        let mut ticks = Vec::new();
        while at < until {
            at += tick;
            let shown = show(at);
            if shown > furthest {
                ticks.push((at, furthest + tick, shown));
                furthest = shown;
            }
        }
        ticks.retain(|(at, ..)| *at > from);
        Self { zone, ticks, tick, from, until }
    }

    fn firings(&self, cron: &Cron) -> Vec<Moment> {
        let fires = |&&(_, first, last): &&(DateTime<Utc>, NaiveDateTime, NaiveDateTime)| {
            let mut wall = first;
            while wall <= last {
                if cron.matches(wall) {
                    return true;
                }
                wall += self.tick;
            }
            false
        };
        self.ticks.iter().filter(fires).map(|(at, ..)| Moment::from(*at)).collect()
    }

    /// The schedule's own answers, forwards from slot to slot and backwards from one tick after another, are what was watched.
    pub fn compare(&self, text: &str, probes: usize) {
        let expected = self.firings(&Cron::read(text));
        let (zone, from, until) = (self.zone, Moment::from(self.from), Moment::from(self.until));
        let calendar = Calendar::parse(text, zone).unwrap();
        let firings: Vec<Moment> = std::iter::successors(calendar.next_after(from), |&at| calendar.next_after(at))
            .take_while(|&at| at <= until)
            .collect();
        assert_eq!(firings, expected, "{text} in {zone} from {from}");
        for (at, ..) in self.ticks.iter().step_by((self.ticks.len() / probes).max(1)) {
            for at in [Moment::from(*at), Moment::from(*at) + Duration::from_millis(999)] {
                let place = expected.partition_point(|&fired| fired <= at);
                if place > 0 {
                    assert_eq!(calendar.latest_until(at), Some(expected[place - 1]), "{text} in {zone} until {at}");
                }
                if let Some(&next) = expected.get(place) {
                    assert_eq!(calendar.next_after(at), Some(next), "{text} in {zone} after {at}");
                }
            }
        }
    }
}
