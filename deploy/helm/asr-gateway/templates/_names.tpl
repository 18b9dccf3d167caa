{{- define "asr-gateway.fullname" -}}
{{- if contains "asr-gateway" .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-asr-gateway" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "asr-gateway.selector" -}}
app.kubernetes.io/name: asr-gateway
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "asr-gateway.labels" -}}
{{ include "asr-gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "asr-gateway.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "asr-gateway.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}
