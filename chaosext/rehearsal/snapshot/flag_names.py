"""The names of all flags of kube-apiserver and kube-controller-manager, so that a mistyped one is noticed.

Source: `--help` of Kubernetes 1.34; cmd/kube-apiserver, cmd/kube-controller-manager and k8s.io/apiserver of
1.29 and 1.34; the controllers' options of 1.37; and the flags that releases since 1.9 deprecated or removed.
"""

from __future__ import annotations

FLAGS = frozenset(
    """
    add-dir-header address admission-control admission-control-config-file advertise-address
    aggregator-reject-forwarding-redirect allocate-node-cidrs allow-metric-labels
    allow-metric-labels-manifest allow-privileged allow-untagged-cloud
    allow-verification-with-non-compliant-keys alsologtostderr anonymous-auth api-audiences
    apiserver-count attach-detach-reconcile-sync-period audit-dynamic-configuration
    audit-log-batch-buffer-size audit-log-batch-max-size audit-log-batch-max-wait
    audit-log-batch-throttle-burst audit-log-batch-throttle-enable audit-log-batch-throttle-qps
    audit-log-compress audit-log-format audit-log-maxage audit-log-maxbackup audit-log-maxsize
    audit-log-mode audit-log-path audit-log-truncate-enabled audit-log-truncate-max-batch-size
    audit-log-truncate-max-event-size audit-log-version audit-policy-file
    audit-webhook-batch-buffer-size audit-webhook-batch-initial-backoff audit-webhook-batch-max-size
    audit-webhook-batch-max-wait audit-webhook-batch-throttle-burst audit-webhook-batch-throttle-enable
    audit-webhook-batch-throttle-qps audit-webhook-config-file audit-webhook-initial-backoff
    audit-webhook-mode audit-webhook-truncate-enabled audit-webhook-truncate-max-batch-size
    audit-webhook-truncate-max-event-size audit-webhook-version authentication-config
    authentication-kubeconfig authentication-skip-lookup authentication-token-webhook-cache-ttl
    authentication-token-webhook-config-file authentication-token-webhook-version
    authentication-tolerate-lookup-failure authorization-always-allow-paths authorization-config
    authorization-kubeconfig authorization-mode authorization-policy-file authorization-rbac-super-user
    authorization-webhook-cache-authorized-ttl authorization-webhook-cache-unauthorized-ttl
    authorization-webhook-config-file authorization-webhook-version azure-container-registry-config
    basic-auth-file bind-address bind-pods-burst bind-pods-qps cert-dir cidr-allocator-type
    client-ca-file cloud-config cloud-provider cloud-provider-gce-l7lb-src-cidrs
    cloud-provider-gce-lb-src-cidrs cluster-cidr cluster-name cluster-signing-cert-file
    cluster-signing-duration cluster-signing-key-file cluster-signing-kube-apiserver-client-cert-file
    cluster-signing-kube-apiserver-client-key-file cluster-signing-kubelet-client-cert-file
    cluster-signing-kubelet-client-key-file cluster-signing-kubelet-serving-cert-file
    cluster-signing-kubelet-serving-key-file cluster-signing-legacy-unknown-cert-file
    cluster-signing-legacy-unknown-key-file concurrent-cron-job-syncs concurrent-daemonset-syncs
    concurrent-deployment-syncs concurrent-device-taint-eviction-syncs concurrent-endpoint-syncs
    concurrent-ephemeralvolume-syncs concurrent-eviction-request-syncs concurrent-gc-syncs
    concurrent-horizontal-pod-autoscaler-syncs
    concurrent-imperative-eviction-interceptor-controller-syncs
    concurrent-imperative-eviction-responder-syncs concurrent-job-syncs concurrent-namespace-syncs
    concurrent-node-syncs concurrent-rc-syncs concurrent-replicaset-syncs
    concurrent-resource-quota-syncs concurrent-resourceclaim-syncs concurrent-service-endpoint-syncs
    concurrent-service-syncs concurrent-serviceaccount-token-syncs concurrent-statefulset-syncs
    concurrent-ttl-after-finished-syncs concurrent-validating-admission-policy-status-syncs
    configure-cloud-routes contention-profiling controller-start-interval controllers
    coordinated-leadership-lease-duration coordinated-leadership-renew-deadline
    coordinated-leadership-retry-period cors-allowed-origins debug-socket-path
    default-not-ready-toleration-seconds default-unreachable-toleration-seconds
    default-watch-cache-size delete-collection-workers deleting-pods-burst deleting-pods-qps
    deployment-controller-sync-period deserialization-cache-size disable-admission-plugins
    disable-attach-detach-reconcile-sync disable-force-detach-on-timeout disable-http2-serving
    disabled-metrics egress-selector-config-file emulated-version emulation-forward-compatible
    enable-admission-plugins enable-aggregator-routing enable-bootstrap-token-auth
    enable-dynamic-provisioning enable-garbage-collector enable-hostpath-provisioner
    enable-inflight-quota-handler enable-leader-migration enable-logs-handler
    enable-priority-and-fairness enable-swagger-ui enable-taint-manager encryption-provider-config
    encryption-provider-config-automatic-reload endpoint-reconciler-type endpoint-updates-batch-period
    endpointslice-updates-batch-period etcd-cafile etcd-certfile etcd-compaction-interval
    etcd-count-metric-poll-period etcd-db-metric-poll-interval etcd-healthcheck-timeout etcd-keyfile
    etcd-prefix etcd-quorum-read etcd-readycheck-timeout etcd-servers etcd-servers-overrides event-ttl
    experimental-bootstrap-token-auth experimental-cluster-signing-duration
    experimental-encryption-provider-config experimental-keystone-auth experimental-keystone-ca-file
    experimental-keystone-url experimental-logging-sanitization external-cloud-volume-plugin
    external-hostname feature-gates flex-volume-plugin-dir goaway-chance google-json-key h help
    horizontal-pod-autoscaler-cpu-initialization-period horizontal-pod-autoscaler-downscale-delay
    horizontal-pod-autoscaler-downscale-stabilization horizontal-pod-autoscaler-initial-readiness-delay
    horizontal-pod-autoscaler-sync-period horizontal-pod-autoscaler-tolerance
    horizontal-pod-autoscaler-upscale-delay horizontal-pod-autoscaler-use-rest-clients
    http2-max-streams-per-connection identity-lease-duration-seconds
    identity-lease-renew-interval-seconds insecure-bind-address
    insecure-experimental-approve-all-kubelet-csrs-for-group insecure-port kube-api-burst
    kube-api-content-type kube-api-qps kubeconfig kubelet-certificate-authority
    kubelet-client-certificate kubelet-client-key kubelet-https kubelet-port
    kubelet-preferred-address-types kubelet-read-only-port kubelet-timeout kubernetes-service-node-port
    large-cluster-size-threshold leader-elect leader-elect-lease-duration leader-elect-renew-deadline
    leader-elect-resource-lock leader-elect-resource-name leader-elect-resource-namespace
    leader-elect-retry-period leader-migration-config lease-reuse-duration-seconds
    legacy-service-account-token-clean-up-period livez-grace-period log-backtrace-at log-dir log-file
    log-file-max-size log-flush-frequency log-json-info-buffer-size log-json-split-stream
    log-text-info-buffer-size log-text-split-stream logging-format logtostderr
    long-running-request-regexp master master-service-namespace max-connection-bytes-per-sec
    max-endpoints-per-slice max-mutating-requests-inflight max-requests-inflight min-request-timeout
    min-resync-period minimum-container-ttl-duration mirroring-concurrent-service-endpoint-syncs
    mirroring-endpointslice-updates-batch-period mirroring-max-endpoints-per-subset
    namespace-sync-period node-cidr-mask-size node-cidr-mask-size-ipv4 node-cidr-mask-size-ipv6
    node-eviction-rate node-monitor-grace-period node-monitor-period node-startup-grace-period
    node-status-update-retry node-sync-period oidc-ca-file oidc-client-id oidc-groups-claim
    oidc-groups-prefix oidc-issuer-url oidc-required-claim oidc-signing-algs oidc-username-claim
    oidc-username-prefix one-output peer-advertise-ip peer-advertise-port peer-ca-file
    permit-address-sharing permit-port-sharing pod-eviction-timeout port profiling
    proxy-client-cert-file proxy-client-key-file pv-recycler-increment-timeout-nfs
    pv-recycler-minimum-timeout-hostpath pv-recycler-minimum-timeout-nfs
    pv-recycler-pod-template-filepath-hostpath pv-recycler-pod-template-filepath-nfs
    pv-recycler-timeout-increment-hostpath pvclaimbinder-sync-period register-retry-count
    repair-malformed-updates replenishment-sync-period request-timeout requestheader-allowed-names
    requestheader-client-ca-file requestheader-extra-headers-prefix requestheader-group-headers
    requestheader-uid-headers requestheader-username-headers resource-quota-sync-period root-ca-file
    route-reconciliation-period runtime-config runtime-config-emulation-forward-compatible
    secondary-node-eviction-rate secure-port service-account-api-audiences
    service-account-extend-token-expiration service-account-issuer service-account-jwks-uri
    service-account-key-file service-account-lookup service-account-max-token-expiration
    service-account-private-key-file service-account-signing-endpoint service-account-signing-key-file
    service-cluster-ip-range service-node-port-range service-sync-period
    show-hidden-metrics-for-version shutdown-delay-duration shutdown-send-retry-after
    shutdown-watch-termination-grace-period skip-headers skip-log-headers ssh-keyfile ssh-user
    stderrthreshold storage-backend storage-initialization-timeout storage-media-type storage-version
    storage-versions strict-transport-security-directives target-ram-mb terminated-pod-gc-threshold
    tls-ca-file tls-cert-file tls-cipher-suites tls-min-version tls-private-key-file tls-sni-cert-key
    token-auth-file tracing-config-file unhealthy-zone-threshold use-service-account-credentials v
    version vmodule volume-host-allow-local-loopback volume-host-cidr-denylist watch-cache
    watch-cache-sizes
    """.split()  # noqa: SIM905  names, as a program prints them
)
