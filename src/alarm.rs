//! Wakes the driver when something may be due. Only that: due times stand in the ledger, so a lost, doubled or late wake-up costs at most
//! one sweep and never a rotation.
//!
//! tokio-cron-scheduler does the waking, kept to what it does well. It gets one job for each distinct schedule and zone, at most
//! [`SCHEDULE_LIMIT`] of them, and one sweep job that wakes every second for everything else; a job does nothing but wake. Three habits
//! of that crate are mended from outside by [`Ticks`], the storage we hand it: with its own storage it copies every job twice a second,
//! it may fire one due time twice, and it freezes a zone's offset on the day a job is added. Its listeners end for good when
//! more messages wait than its channels hold, so jobs are added and removed one at a time and the channels are wide.
//!
//! Its info lines are chatter, and its error lines are the only sign of a lost wake-up: telemetry filters accordingly.

use crate::clock::Clock;
use crate::fault::{Fault, Kind};
use crate::moment::Moment;
use crate::schedule::Calendar;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_cron_scheduler::job::JobId;
use tokio_cron_scheduler::job::job_data::{JobAndNextTick, JobStoredData, JobType};
use tokio_cron_scheduler::store::{DataStore, InitStore};
use tokio_cron_scheduler::{
    Job, JobScheduler, JobSchedulerError, MetaDataStorage, SimpleJobCode, SimpleNotificationCode,
    SimpleNotificationStore,
};

/// What a wake-up does. It must return at once and may be called from any task, also when nothing is due.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// How many distinct schedules get a job of their own; the others share the sweep.
pub const SCHEDULE_LIMIT: usize = 64;

/// Messages each of the scheduler's channels holds: a firing sends four, and all jobs may fire together.
const CHANNEL_SIZE: usize = 8 * (SCHEDULE_LIMIT + 1);

/// The sweep: every second, so that nothing waits longer than that for a lost wake-up.
const SWEEP: &str = "* * * * * *";

/// A clock that falls back by less is being slewed, not set.
const SET_BACK: Duration = Duration::from_secs(2);

/// The running alarm. Dropping it does not stop it; [`Alarm::stop`] does.
pub struct Alarm {
    scheduler: JobScheduler,
    book: Arc<Mutex<Book>>,
    jobs: HashMap<Calendar, JobId>,
    wake: Wake,
}

impl Alarm {
    /// Starts waking on these schedules and every second.
    ///
    /// # Errors
    /// When the scheduler cannot be started.
    pub async fn start(
        clock: Arc<dyn Clock>,
        schedules: impl IntoIterator<Item = Calendar>,
        wake: Wake,
    ) -> Result<Self, Fault> {
        let book = Arc::new(Mutex::new(Book::default()));
        let scheduler = JobScheduler::new_with_storage_and_code(
            Box::new(Ticks { clock, book: Arc::clone(&book) }),
            Box::new(SimpleNotificationStore::default()),
            Box::new(SimpleJobCode::default()),
            Box::new(SimpleNotificationCode::default()),
            CHANNEL_SIZE,
        )
        .await
        .map_err(broken)?;
        let mut alarm = Self { scheduler, book, jobs: HashMap::new(), wake };
        alarm.add(sweep()).await?;
        alarm.replace(schedules).await?;
        alarm.scheduler.start().await.map_err(broken)?;
        Ok(alarm)
    }

    /// Wakes on these schedules from now on, and no longer on those before. The sweep goes on meanwhile.
    ///
    /// # Errors
    /// When the scheduler refuses a change. The sweep still wakes for every target.
    pub async fn replace(&mut self, schedules: impl IntoIterator<Item = Calendar>) -> Result<(), Fault> {
        let mut wanted = HashSet::from([sweep()]);
        for schedule in schedules {
            if wanted.len() <= SCHEDULE_LIMIT {
                wanted.insert(schedule);
            }
        }
        let unwanted: Vec<Calendar> = self.jobs.keys().filter(|job| !wanted.contains(*job)).cloned().collect();
        for schedule in unwanted {
            if let Some(id) = self.jobs.remove(&schedule) {
                self.scheduler.remove(&id).await.map_err(broken)?;
            }
        }
        for schedule in wanted {
            if !self.jobs.contains_key(&schedule) {
                self.add(schedule).await?;
            }
        }
        Ok(())
    }

    /// Ends the alarm. A wake-up already on its way may still arrive.
    ///
    /// # Errors
    /// When the scheduler does not stop; nothing wakes any more all the same.
    pub async fn stop(mut self) -> Result<(), Fault> {
        *hold(&self.book) = Book::default();
        self.scheduler.shutdown().await.map_err(broken)
    }

    async fn add(&mut self, schedule: Calendar) -> Result<(), Fault> {
        let wake = Arc::clone(&self.wake);
        let job = Job::new_tz(schedule.six_fields(), schedule.zone(), move |_, _| wake()).map_err(broken)?;
        let id = job.guid();
        hold(&self.book).calendars.insert(id, schedule.clone());
        self.scheduler.add(job).await.map_err(broken)?;
        self.jobs.insert(schedule, id);
        Ok(())
    }
}

fn sweep() -> Calendar {
    Calendar::parse(SWEEP, Tz::UTC).expect("the sweep's pattern is a constant and a test parses it")
}

fn broken(error: JobSchedulerError) -> Fault {
    Fault::new(Kind::Bug, format!("the scheduler that wakes keywheel failed: {error}"))
}

/// The scheduler's jobs and their next ticks, in order.
#[derive(Default)]
struct Book {
    /// The meaning of each job, noted before the scheduler hears of the job.
    calendars: HashMap<JobId, Calendar>,
    jobs: HashMap<JobId, JobStoredData>,
    ticks: BTreeSet<(Moment, JobId)>,
    read_at: Option<Moment>,
}

impl Book {
    fn store(&mut self, id: JobId, job: JobStoredData, now: Moment) {
        self.ticks.retain(|(_, other)| *other != id);
        self.jobs.insert(id, job);
        self.plan(id, now);
    }

    fn remove(&mut self, id: JobId) {
        self.calendars.remove(&id);
        self.jobs.remove(&id);
        self.ticks.retain(|(_, other)| *other != id);
    }

    /// Notes the job's first tick after `now`, by its own calendar and with the zone's real offset on that day.
    fn plan(&mut self, id: JobId, now: Moment) {
        if let Some(tick) = self.calendars.get(&id).and_then(|calendar| calendar.next_after(now)) {
            self.ticks.insert((tick, id));
        }
    }

    /// The jobs that are due, each once: its next tick is planned before it is handed out, so ticks missed while the clock jumped
    /// ahead become one. When the clock was set back, every job is due at once and planned anew, or the sweep would be silent until the
    /// clock had caught up.
    fn hand_out(&mut self, now: Moment) -> Vec<JobId> {
        let set_back = self.read_at.is_some_and(|before| before.since(now) >= SET_BACK);
        self.read_at = Some(now);
        if set_back {
            self.ticks = self.jobs.keys().map(|&id| (now, id)).collect();
        }
        let mut due = Vec::new();
        while let Some(&(tick, id)) = self.ticks.first() {
            if tick > now {
                break;
            }
            self.ticks.pop_first();
            due.push(id);
        }
        due.iter().for_each(|&id| self.plan(id, now));
        due
    }
}

fn hold(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    // Each change of the book is whole before anything in it can panic.
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The storage the scheduler asks twice a second what is due.
struct Ticks {
    clock: Arc<dyn Clock>,
    book: Arc<Mutex<Book>>,
}

/// The form in which the scheduler wants every answer of a storage.
type Answer<T> = Pin<Box<dyn Future<Output = Result<T, JobSchedulerError>> + Send>>;

fn answer<T: Send + 'static>(value: T) -> Answer<T> {
    Box::pin(ready(Ok(value)))
}

impl MetaDataStorage for Ticks {
    fn list_next_ticks(&mut self) -> Answer<Vec<JobAndNextTick>> {
        let due = hold(&self.book).hand_out(self.clock.now());
        let handed_out = |id: JobId| JobAndNextTick {
            id: Some(id.into()),
            job_type: JobType::Cron.into(),
            // Long overdue: the scheduler has read its clock before we read ours and must not judge again, or the firing would be lost.
            next_tick: 1,
            last_tick: None,
        };
        answer(due.into_iter().map(handed_out).collect())
    }

    /// Ignored: the scheduler's own next tick comes from a frozen offset, and the real one is planned already.
    fn set_next_and_last_tick(&mut self, _: JobId, _: Option<DateTime<Utc>>, _: Option<DateTime<Utc>>) -> Answer<()> {
        answer(())
    }

    fn time_till_next_job(&mut self) -> Answer<Option<Duration>> {
        let first = hold(&self.book).ticks.first().map(|(tick, _)| *tick);
        answer(first.map(|tick| tick.since(self.clock.now())))
    }
}

impl DataStore<JobStoredData> for Ticks {
    fn get(&mut self, id: JobId) -> Answer<Option<JobStoredData>> {
        answer(hold(&self.book).jobs.get(&id).cloned())
    }

    fn add_or_update(&mut self, job: JobStoredData) -> Answer<()> {
        if let Some(id) = job.id.map(JobId::from) {
            hold(&self.book).store(id, job, self.clock.now());
        }
        answer(())
    }

    fn delete(&mut self, id: JobId) -> Answer<()> {
        hold(&self.book).remove(id);
        answer(())
    }
}

impl InitStore for Ticks {
    fn init(&mut self) -> Answer<()> {
        answer(())
    }

    fn inited(&mut self) -> Answer<bool> {
        answer(true)
    }
}
