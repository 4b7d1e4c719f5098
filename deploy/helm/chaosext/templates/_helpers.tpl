{{- define "chaosext.labels" -}}
app.kubernetes.io/name: chaosext
app.kubernetes.io/instance: {{ .Values.name }}
{{- end }}

{{- define "chaosext.claim" -}}
{{- if .Values.results.claim }}{{ .Values.results.claim }}{{ else if .Values.results.size }}{{ .Values.name }}{{ end -}}
{{- end }}
