{{/* The name of everything: the release's, with the chart's in it. */}}
{{- define "keywheel.name" -}}
{{- if contains "keywheel" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-keywheel{{ end }}
{{- end }}

{{/* What the pods are found by. */}}
{{- define "keywheel.selector" -}}
app.kubernetes.io/name: keywheel
app.kubernetes.io/component: rotator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "keywheel.labels" -}}
{{ include "keywheel.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- end }}

{{- define "keywheel.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
