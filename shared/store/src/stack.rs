//! Stacks.

use chrono::{DateTime, Utc};
use slipway_domain::access::Reach;
use slipway_domain::id::{ArtifactId, DeploymentId, StackId};
use slipway_domain::page::PageRequest;
use slipway_domain::plan::StateMark;
use slipway_domain::stack::{DriverKind, Stack, StackKey, StateInfo};

use crate::db::{Conn, Tx, sql};
use crate::dialect::{fill, only, reached, within};
use crate::error::{Error, Result};
use crate::rows::insert_rows;

#[derive(sqlx::FromRow)]
struct Row {
    id: StackId,
    project: String,
    name: String,
    environment: String,
    driver: String,
    current_deployment: Option<DeploymentId>,
    #[sqlx(flatten)]
    state: StateRow,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// A stack and where its current state is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The stack.
    pub stack: Stack,
    /// The artifact with its current state, if Slipway keeps one.
    pub state_artifact: Option<ArtifactId>,
}

/// The current state of a stack, and where it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptState {
    /// Which it is.
    pub info: StateInfo,
    /// The artifact with its content.
    pub artifact: ArtifactId,
}

impl KeptState {
    /// Which version of the state it is.
    pub fn mark(&self) -> StateMark {
        StateMark { lineage: self.info.lineage.clone(), serial: self.info.serial }
    }
}

/// The columns of a [`KeptState`].
#[derive(sqlx::FromRow)]
pub(crate) struct StateRow {
    state_lineage: Option<String>,
    state_serial: Option<i64>,
    state_resources: Option<i64>,
    state_artifact: Option<ArtifactId>,
}

impl StateRow {
    pub(crate) fn kept(&self) -> Option<KeptState> {
        Some(KeptState { info: self.info()?, artifact: self.state_artifact? })
    }

    fn info(&self) -> Option<StateInfo> {
        Some(StateInfo {
            lineage: self.state_lineage.clone()?,
            serial: self.state_serial?,
            resource_count: self.state_resources.unwrap_or_default(),
        })
    }
}

impl Record {
    /// Its current state, if Slipway keeps one.
    pub fn kept_state(&self) -> Option<KeptState> {
        let (info, artifact) = (self.stack.state.clone()?, self.state_artifact?);
        Some(KeptState { info, artifact })
    }

    /// Which version of the state is current; the default when there is none yet.
    pub fn state_mark(&self) -> StateMark {
        self.stack.state.as_ref().map_or_else(StateMark::default, |s| StateMark {
            lineage: s.lineage.clone(),
            serial: s.serial,
        })
    }
}

impl TryFrom<Row> for Record {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            state_artifact: row.state.state_artifact,
            stack: Stack {
                id: row.id,
                key: StackKey {
                    project: row.project,
                    name: row.name,
                    environment: row.environment,
                },
                driver: DriverKind::parse(&row.driver)
                    .ok_or_else(|| Error::corrupt("stacks", format!("driver {:?}", row.driver)))?,
                current_deployment: row.current_deployment,
                state: row.state.info(),
                created_at: row.created_at,
                updated_at: row.updated_at,
            },
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select id, project, name, environment, driver, current_deployment, state_lineage, ",
            "state_serial, state_resources, state_artifact, created_at, updated_at from stacks ",
            $rest
        )
    };
}

/// Which stacks a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only of this project.
    pub project: Option<String>,
    /// Only with this name.
    pub name: Option<String>,
    /// Only of this environment.
    pub environment: Option<String>,
}

impl Tx {
    /// The stacks named by `keys`, each made with its id when it does not exist yet.
    pub async fn ensure_stacks(
        &mut self,
        keys: &[(StackId, &StackKey)],
        driver: DriverKind,
        now: DateTime<Utc>,
    ) -> Result<Vec<Record>> {
        let wanted: Vec<_> = keys.iter().map(|(_, key)| *key).collect();
        let mut found = self.stacks_by_key(&wanted).await?;
        let is_new = |key: &StackKey| !found.iter().any(|stack| stack.stack.key == *key);
        let missing: Vec<_> = keys.iter().filter(|(_, key)| is_new(key)).copied().collect();
        found.extend(self.make_stacks(&missing, driver, now).await?);
        Ok(found)
    }

    /// The stacks named by `keys`, which were not there a moment ago: made with their ids, unless
    /// somebody else was first.
    pub async fn make_stacks(
        &mut self,
        keys: &[(StackId, &StackKey)],
        driver: DriverKind,
        now: DateTime<Utc>,
    ) -> Result<Vec<Record>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut missing: Vec<_> = keys.iter().collect();
        // In one order everywhere: two who make the same stacks wait for each other, not both.
        missing.sort_by_key(|(_, key)| (&key.project, &key.name, &key.environment));
        missing.dedup_by_key(|(_, key)| *key);
        insert_rows!(self,
            "stacks (id, project, name, environment, driver, created_at, updated_at)",
            "on conflict (project, name, environment) do nothing",
            missing.as_slice(), |row|
            "uuid": row.0.0, "text": row.1.project.as_str(), "text": row.1.name.as_str(),
            "text": row.1.environment.as_str(), "text": driver.as_str(), "timestamptz": now,
            "timestamptz": now);
        let made: Vec<_> = missing.iter().map(|(_, key)| *key).collect();
        self.stacks_by_key(&made).await
    }

    /// The stacks named by `keys`; those that are there.
    pub async fn stacks_by_key(&mut self, keys: &[&StackKey]) -> Result<Vec<Record>> {
        let rows = match self.conn() {
            Conn::Sqlite(conn) => {
                let mut query =
                    sqlx::QueryBuilder::new(select!("where (project, name, environment) in "));
                query.push_tuples(keys, |mut tuple, key| {
                    tuple
                        .push_bind(key.project.as_str())
                        .push_bind(key.name.as_str())
                        .push_bind(key.environment.as_str());
                });
                query.build_query_as::<Row>().fetch_all(conn).await?
            }
            Conn::Postgres(conn) => {
                let column =
                    |of: fn(&StackKey) -> &str| keys.iter().map(|key| of(key)).collect::<Vec<_>>();
                // A join from the keys, so that each is looked up in the index.
                sqlx::query_as::<_, Row>(
                    "select s.id, s.project, s.name, s.environment, s.driver, s.current_deployment,
                         s.state_lineage, s.state_serial, s.state_resources, s.state_artifact,
                         s.created_at, s.updated_at
                     from unnest($1::text[], $2::text[], $3::text[]) as k (project, name, env)
                     join stacks s on s.project = k.project and s.name = k.name
                         and s.environment = k.env",
                )
                .bind(column(|key| &key.project))
                .bind(column(|key| &key.name))
                .bind(column(|key| &key.environment))
                .fetch_all(conn)
                .await?
            }
        };
        rows.into_iter().map(Record::try_from).collect()
    }

    /// The stack named by `key`.
    pub async fn stack_by_key(&mut self, key: &StackKey) -> Result<Option<Record>> {
        sql!(maybe Row, self,
            select!("where project = $1 and name = $2 and environment = $3"),
            key.project.as_str(), key.name.as_str(), key.environment.as_str())?
        .map(Record::try_from)
        .transpose()
    }

    /// A stack.
    pub async fn stack(&mut self, id: StackId) -> Result<Option<Record>> {
        sql!(maybe Row, self, select!("where id = $1"), id)?.map(Record::try_from).transpose()
    }

    /// A stack, locked until the unit of work ends.
    pub async fn lock_stack(&mut self, id: StackId) -> Result<Option<Record>> {
        let text = fill(self, select!("where id = $1 {for_update}"));
        sql!(maybe Row, self, text, id)?.map(Record::try_from).transpose()
    }

    /// Up to `limit + 1` stacks within `reach`, newest first.
    pub async fn stacks(
        &mut self,
        filter: &Filter,
        reach: &Reach,
        page: PageRequest,
    ) -> Result<Vec<Record>> {
        let text = only(
            select!(
                "where {project = $1} and {name = $2} and {environment = $3} and {id < $4}
               and {within project $5}
             order by id desc limit $6"
            ),
            &[
                ("project = $1", filter.project.is_some()),
                ("name = $2", filter.name.is_some()),
                ("environment = $3", filter.environment.is_some()),
                ("id < $4", page.after.is_some()),
            ],
        );
        let text = within(self, text, reach);
        sql!(all Row, self, text,
            filter.project.as_deref(), filter.name.as_deref(), filter.environment.as_deref(),
            page.after.unwrap_or_default(), reached(reach), i64::from(page.limit) + 1)?
        .into_iter()
        .map(Record::try_from)
        .collect()
    }

    /// Notes which deployment the stack runs now.
    pub async fn set_current_deployment(
        &mut self,
        id: StackId,
        deployment: DeploymentId,
        now: DateTime<Utc>,
    ) -> Result<()> {
        sql!(execute self,
            "update stacks set current_deployment = $2, updated_at = $3 where id = $1",
            id, deployment, now)?;
        Ok(())
    }
}
