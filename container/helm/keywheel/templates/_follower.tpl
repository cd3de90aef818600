{{/*
The follower's parts of an application's pod, for the application's own chart: one init container that waits for the files, one native sidecar
(Kubernetes 1.29) that keeps them up to date, and their volumes. The chart has this one as a dependency, with the values
`keywheel: {rotator: false}`, and writes

  serviceAccountName: orders                # may read one Secret
  automountServiceAccountToken: false       # the token is for the follower alone
  securityContext: {fsGroup: 65532}
  initContainers:
    {{- include "keywheel.follower.containers" (dict "chart" .Subcharts.keywheel "folder" "/run/orders") | nindent 4 }}
  volumes:
    {{- include "keywheel.follower.volumes" (dict "configMap" "orders-follower") | nindent 4 }}

and mounts the volume `keywheel-passwords` into the application, read-only. `folder` is where follower.toml, a key of `configMap`, renders to.
*/}}
{{- define "keywheel.follower.container" -}}
image: {{ .image | quote }}
resources:
  requests: {cpu: 10m, memory: 16Mi}
  limits: {memory: 64Mi}
securityContext:
  runAsUser: 65532
  runAsGroup: 65532
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
volumeMounts:
  - {name: keywheel-passwords, mountPath: {{ .folder | quote }}}
  - {name: keywheel-configuration, mountPath: /etc/keywheel, readOnly: true}
  - {name: keywheel-identity, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end }}

{{- define "keywheel.follower.containers" -}}
{{- $what := dict "image" (include "keywheel.image" .chart) "folder" (required "keywheel.follower.containers needs a folder" .folder) }}
- name: keywheel-first
  args: [follow, --once, --config, /etc/keywheel/follower.toml]
  {{- include "keywheel.follower.container" $what | nindent 2 }}
- name: keywheel
  restartPolicy: Always
  args: [follow, --config, /etc/keywheel/follower.toml]
  {{- include "keywheel.follower.container" $what | nindent 2 }}
{{- end }}

{{- define "keywheel.follower.volumes" -}}
- name: keywheel-passwords
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
- name: keywheel-configuration
  configMap:
    name: {{ required "keywheel.follower.volumes needs the configMap with follower.toml" .configMap }}
- name: keywheel-identity
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3600
      - configMap:
          name: kube-root-ca.crt
          items:
            - {key: ca.crt, path: ca.crt}
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                fieldPath: metadata.namespace
{{- end }}
