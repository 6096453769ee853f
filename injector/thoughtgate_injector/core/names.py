"""Names, ports and paths of the contract; those that the proxy shares are tied by a contract test.

Source: `injection.md` (what is added), `gate.md` (ports and environment of the proxy).
"""

from typing import Final

PREFIX: Final = "thoughtgate.io/"
INJECT: Final = PREFIX + "inject"
STATUS: Final = PREFIX + "status"
# On a ConfigMap: `"true"` lets the injector check it; as a pod's annotation it is an option.
CONFIG_LABEL: Final = PREFIX + "config"

CONTAINER: Final = "thoughtgate"
UID: Final = 65532

PROXY_PORT: Final = 7467
INBOUND_PORT: Final = 7468
ADMIN_PORT: Final = 7469
PROXY_PORT_NAME: Final = "proxy"
ADMIN_PORT_NAME: Final = "admin"
RENAMED_PORT: Final = "tg-"
HEALTH_PATH: Final = "/health"
READY_PATH: Final = "/ready"
METRICS_PATH: Final = "/metrics"

CONFIG_FILE: Final = "/etc/thoughtgate/config.yaml"
CONFIG_DIR: Final = "/etc/thoughtgate"
CONFIG_KEY: Final = "config.yaml"
PODINFO_DIR: Final = "/etc/podinfo"
LABELS_ITEM: Final = "labels"
SECRETS_DIR: Final = "/etc/thoughtgate-secrets"
STATE_DIR: Final = "/var/lib/thoughtgate"
TOKEN_DIR: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path

CONFIG_MAP: Final = "thoughtgate-config"
SECRET: Final = "thoughtgate-secrets"  # noqa: S105 - a name
SLACK_TOKEN_KEY: Final = "slack-token"  # noqa: S105 - a name
STATE_SIZE: Final = "64Mi"

VOLUME_PREFIX: Final = "thoughtgate-"
CONFIG_VOLUME: Final = "thoughtgate-config"
PODINFO_VOLUME: Final = "thoughtgate-podinfo"
SECRETS_VOLUME: Final = "thoughtgate-secrets"
STATE_VOLUME: Final = "thoughtgate-state"
NOTOKEN_VOLUME: Final = "thoughtgate-notoken"

ENV_CONFIG: Final = "THOUGHTGATE_CONFIG"
ENV_GRACE: Final = "THOUGHTGATE_GRACE_SECONDS"
ENV_OUTBOUND_PORT: Final = "THOUGHTGATE_OUTBOUND_PORT"
ENV_INBOUND_PORT: Final = "THOUGHTGATE_INBOUND_PORT"
ENV_ADMIN_PORT: Final = "THOUGHTGATE_ADMIN_PORT"
ENV_SLACK_TOKEN: Final = "THOUGHTGATE_SLACK_BOT_TOKEN"  # noqa: S105 - a name
ENV_SLACK_API_URL: Final = "THOUGHTGATE_SLACK_API_URL"
ENV_LOG_LEVEL: Final = "THOUGHTGATE_LOG_LEVEL"
ENV_POD_NAME: Final = "POD_NAME"
ENV_POD_NAMESPACE: Final = "POD_NAMESPACE"
ENV_POD_UID: Final = "POD_UID"
LOG_LEVELS: Final = ("debug", "info", "warning", "error")

AGENT_ENV: Final = "MCP_SERVER_URL"
AGENT_URL: Final = f"http://localhost:{PROXY_PORT}"

DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
MIRROR_POD: Final = "kubernetes.io/config.mirror"
PROMETHEUS_PREFIX: Final = "prometheus.io/"
# Kubernetes's own default for a pod that does not say: core/v1, SetDefaults_PodSpec.
DEFAULT_GRACE_SECONDS: Final = 30

# The injector's own things in the cluster; manifests/ holds the same names.
NAMESPACE: Final = "thoughtgate-system"
INJECTOR: Final = "thoughtgate-injector"
WATCHDOG: Final = "thoughtgate-watchdog"
CA_SECRET: Final = "thoughtgate-injector-ca"  # noqa: S105 - a name
WEBHOOK_PORT: Final = 8443
HEALTH_PORT: Final = 8081
EXCLUDED_NAMESPACES: Final = ("kube-system", NAMESPACE)
PATH_PREFIX: Final = "/inject/"
CONFIG_PATH: Final = "/check/config"
SETTINGS_DIR: Final = "/etc/thoughtgate-injector"
SIDECAR_IMAGE: Final = "ghcr.io/thoughtgate/thoughtgate-proxy:v0.2.0"
