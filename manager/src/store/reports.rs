//! What services of appliances last said of themselves: jobs, stores, members. Only the latest is kept.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sluice_api::report::uplinks;
use sqlx::Row as _;

use super::row::{from_json, to_json};
use super::{Conn, Row};
use crate::error::Error;

/// Reports by service.
pub type Services = BTreeMap<String, Value>;

/// Reports by appliance and service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reports(BTreeMap<String, Services>);

impl Reports {
    /// What `service` of `appliance` said.
    pub fn of(&self, appliance: &str, service: &str) -> Option<&Value> {
        self.0.get(appliance)?.get(service)
    }

    /// The entry `id` of the list `list` in what `service` of `appliance` said.
    pub fn entry(&self, appliance: &str, service: &str, list: &str, id: &str) -> Option<&Value> {
        let all = self.of(appliance, service)?.get(list)?.as_array()?;
        all.iter().find(|entry| entry.get("id").and_then(Value::as_str) == Some(id))
    }
}

/// What is kept of a report of a router's: how its tunnels are, and which uplinks are up. The rest is another at each look,
/// and is asked of the router when somebody wants to know.
pub fn of_router(service: &str, report: &Value) -> Option<Value> {
    match service {
        "ike" => {
            let connections = report.get("connections")?.as_object()?;
            let phase = |(name, connection): (&String, &Value)| {
                (name.clone(), json!({ "phase": connection.get("phase") }))
            };
            let phases: Map<String, Value> = connections.iter().map(phase).collect();
            Some(json!({ "connections": phases }))
        }
        uplinks::SERVICE => {
            let uplinks = report.get("uplinks")?.as_array()?;
            let state = |uplink: &Value| {
                let [link, up, targets] = ["link", "up", "targets"].map(|field| uplink.get(field));
                json!({ "link": link, "up": up, "targets": targets })
            };
            Some(json!({ "uplinks": uplinks.iter().map(state).collect::<Vec<_>>() }))
        }
        _ => None,
    }
}

/// Writes what the services of an appliance that still exists said, unless a later look (Unix milliseconds) was written
/// meanwhile; says whether it was written.
pub async fn write(
    conn: &mut Conn,
    appliance: &str,
    services: &Services,
    looked: i64,
) -> Result<bool, Error> {
    let written = sqlx::query(
        "INSERT INTO reports (appliance, services, looked)
         SELECT $1, $2, $3 WHERE EXISTS (SELECT 1 FROM appliances WHERE id = $1)
         ON CONFLICT (appliance) DO UPDATE SET services = excluded.services,
             looked = excluded.looked
         WHERE reports.looked <= excluded.looked",
    )
    .bind(appliance)
    .bind(to_json(services, "report")?)
    .bind(looked)
    .execute(conn)
    .await?;
    Ok(written.rows_affected() > 0)
}

/// What the services of one appliance said last.
pub async fn of(conn: &mut Conn, appliance: &str) -> Result<Services, Error> {
    let row = sqlx::query("SELECT services FROM reports WHERE appliance = $1")
        .bind(appliance)
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(Services::new()) };
    from_json(&row.try_get::<String, _>("services")?, "report")
}

/// What one of its services said last, if anything.
pub async fn of_service(
    conn: &mut Conn,
    appliance: &str,
    service: &str,
) -> Result<Option<Value>, Error> {
    Ok(of(conn, appliance).await?.remove(service))
}

/// All of them.
pub async fn all(conn: &mut Conn) -> Result<Reports, Error> {
    let rows = sqlx::query("SELECT appliance, services FROM reports").fetch_all(conn).await?;
    reports(rows)
}

/// Those of secondary storage VMs, of which there are few however many routers there are.
pub async fn of_storage(conn: &mut Conn) -> Result<Reports, Error> {
    let rows = sqlx::query(
        "SELECT r.appliance, r.services FROM appliances a JOIN reports r ON r.appliance = a.id
         WHERE a.role = 'ssvm'",
    )
    .fetch_all(conn)
    .await?;
    reports(rows)
}

fn reports(rows: Vec<Row>) -> Result<Reports, Error> {
    let mut reports = BTreeMap::new();
    for row in rows {
        let (appliance, text): (String, String) =
            (row.try_get("appliance")?, row.try_get("services")?);
        reports.insert(appliance, from_json(&text, "report")?);
    }
    Ok(Reports(reports))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_router_the_phases_of_tunnels_are_kept() {
        let tunnel = json!({ "phase": "connected", "tunnels": [{ "bytes-in": 1 }] });
        let report = json!({ "connections": { "s2s-vc-1": tunnel } });
        let kept = json!({ "connections": { "s2s-vc-1": { "phase": "connected" } } });
        assert_eq!(of_router("ike", &report), Some(kept));
        assert_eq!(of_router("dhcp", &report), None);
    }

    #[test]
    fn an_entry_is_found_by_appliance_service_list_and_id() {
        let said = json!({ "jobs": [{ "id": "im-1", "state": "done" }] });
        let services = BTreeMap::from([("storage".to_owned(), said)]);
        let reports = Reports(BTreeMap::from([("s-1".to_owned(), services)]));
        let state = |appliance, id| reports.entry(appliance, "storage", "jobs", id);
        assert_eq!(state("s-1", "im-1").unwrap()["state"], "done");
        assert_eq!(state("s-1", "im-2"), None);
        assert_eq!(state("s-2", "im-1"), None);
    }
}
