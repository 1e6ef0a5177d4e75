//! Where spans go, by the variables that OpenTelemetry names.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// How long an export may take, as the specification has it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long spans are gathered, as the specification has it.
const DELAY: Duration = Duration::from_secs(5);
/// Both at most: a timeout of a day would be a queue that is never emptied.
const LONGEST: Duration = Duration::from_secs(60);
const SHORTEST: Duration = Duration::from_millis(10);

/// Where spans go, and under which name.
#[derive(Clone, Debug)]
pub struct TraceSettings {
    pub(super) endpoint: String,
    pub(super) service: String,
    pub(super) timeout: Duration,
    pub(super) delay: Duration,
    pub(super) certificate: Option<PathBuf>,
}

/// What is the [source](StdError::source) of an error here.
type Cause = Box<dyn StdError + Send + Sync>;

/// Why no traces can be exported.
#[derive(Debug, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say all")]
pub enum TracesError {
    #[error(
        "{variable} is {value:?}, and this program exports only by {only}; set it so, or unset it"
    )]
    Unsupported { variable: &'static str, value: String, only: &'static str },
    #[error("{variable} is {value:?}, which is not a number of milliseconds")]
    NoNumber { variable: &'static str, value: String },
    #[error(
        "the endpoint of the collector, {endpoint:?}, cannot be used: {why}; give a URL as http://127.0.0.1:4318"
    )]
    Endpoint {
        endpoint: String,
        #[source]
        why: Cause,
    },
    #[error("cannot set up the export of traces: {0}")]
    Exporter(#[source] Cause),
}

impl TracesError {
    pub(super) fn endpoint(endpoint: &str, why: impl Into<Cause>) -> Self {
        Self::Endpoint { endpoint: endpoint.to_owned(), why: why.into() }
    }
}

impl TraceSettings {
    /// To a collector at this URL, which is used as it is: most want a path of `/v1/traces`.
    pub fn new(endpoint: impl Into<String>, service: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            service: service.into(),
            timeout: TIMEOUT,
            delay: DELAY,
            certificate: None,
        }
    }

    /// Gathers spans for so long before they are exported; 5 s unless set.
    #[must_use]
    pub fn with_delay(self, delay: Duration) -> Self {
        Self { delay: delay.clamp(SHORTEST, LONGEST), ..self }
    }

    /// What the environment says: nothing is exported unless it names an endpoint. `service` is the name if it says
    /// none.
    ///
    /// # Errors
    /// It asks for what this program does not do.
    pub fn from_env(service: &str) -> Result<Option<Self>, TracesError> {
        Self::from(service, |name| std::env::var(name).ok())
    }

    fn from(
        service: &str,
        variable: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Option<Self>, TracesError> {
        // An empty variable counts as unset.
        let get = |name| variable(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        if get("OTEL_SDK_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let exporter = "OTEL_TRACES_EXPORTER";
        match get(exporter).as_deref() {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(other) => {
                let value = other.to_owned();
                return Err(TracesError::Unsupported { variable: exporter, value, only: "otlp" });
            }
        }
        let endpoint = match get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
            Some(whole) => whole,
            None => match get("OTEL_EXPORTER_OTLP_ENDPOINT") {
                Some(base) => format!("{}/v1/traces", base.trim_end_matches('/')),
                None => return Ok(None),
            },
        };
        // The one of traces goes before the one of all signals.
        let one_of = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| get(name).map(|value| (name, value)))
        };
        let protocol =
            one_of(["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]);
        if let Some((variable, value)) = protocol
            && value != "http/protobuf"
        {
            return Err(TracesError::Unsupported { variable, value, only: "http/protobuf" });
        }
        let millis = |names, default| match one_of(names) {
            None => Ok(default),
            Some((variable, value)) => match value.parse() {
                Ok(millis) => Ok(Duration::from_millis(millis).clamp(SHORTEST, LONGEST)),
                Err(_) => Err(TracesError::NoNumber { variable, value }),
            },
        };
        let delay = "OTEL_BSP_SCHEDULE_DELAY";
        let certificate =
            one_of(["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"]);
        Ok(Some(Self {
            endpoint,
            service: get("OTEL_SERVICE_NAME").unwrap_or_else(|| service.to_owned()),
            timeout: millis(
                ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"],
                TIMEOUT,
            )?,
            delay: millis([delay, delay], DELAY)?,
            certificate: certificate.map(|(_, path)| path.into()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<TraceSettings>, TracesError> {
        TraceSettings::from("svc", |name| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        })
    }

    const TO: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");

    #[test]
    fn nothing_is_exported_unless_an_endpoint_is_named() {
        assert!(read(&[]).unwrap().is_none());
        assert!(read(&[("OTEL_SERVICE_NAME", "x")]).unwrap().is_none());
        assert!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]).unwrap().is_none());
        assert!(read(&[TO, ("OTEL_SDK_DISABLED", "TRUE")]).unwrap().is_none());
        assert!(read(&[TO, ("OTEL_TRACES_EXPORTER", "none")]).unwrap().is_none());
    }

    #[test]
    fn the_variables_of_traces_go_before_those_of_all_signals() {
        let settings = read(&[TO]).unwrap().unwrap();
        assert_eq!(settings.endpoint, "http://collector:4318/v1/traces");
        assert_eq!((settings.service.as_str(), settings.timeout), ("svc", TIMEOUT));
        let settings = read(&[
            TO,
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://other/spans"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "9000"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "7000"),
            ("OTEL_BSP_SCHEDULE_DELAY", "99999999"),
            ("OTEL_SERVICE_NAME", "mine"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
        ]);
        let settings = settings.unwrap().unwrap();
        assert_eq!(settings.endpoint, "http://other/spans");
        assert_eq!(settings.service, "mine");
        assert_eq!((settings.timeout, settings.delay), (Duration::from_secs(7), LONGEST));
        assert_eq!(settings.certificate, Some("/ca.pem".into()));
    }

    #[test]
    fn what_is_not_done_here_is_an_error_that_names_the_variable() {
        for (variable, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_BSP_SCHEDULE_DELAY", "5s"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1"),
        ] {
            let error = read(&[TO, (variable, value)]).unwrap_err().to_string();
            assert!(error.contains(variable) && error.contains(value), "{error}");
        }
    }
}
