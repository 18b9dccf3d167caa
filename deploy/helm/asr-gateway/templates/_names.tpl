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

{{- define "asr-gateway.engine.fullname" -}}
{{- printf "%s-engine" (include "asr-gateway.fullname" . | trunc 56 | trimSuffix "-") -}}
{{- end -}}

{{- define "asr-gateway.engine.selector" -}}
app.kubernetes.io/name: asr-gateway-engine
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "asr-gateway.engine.labels" -}}
{{ include "asr-gateway.engine.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* Where the key of the engine is, in its pods and in the gateway's. */}}
{{- define "asr-gateway.engine.keyFolder" -}}/run/secrets/engine{{- end -}}

{{- define "asr-gateway.engine.key" -}}
{{- $name := required "engine.keySecretName: whoever reaches an engine without a key may use it" .Values.engine.keySecretName -}}
secret: {secretName: {{ $name }}, defaultMode: 0440, items: [{key: {{ .Values.engine.keySecretKey }}, path: key}]}
{{- end -}}

{{/* The gateway's configuration, as JSON: with an account for the engine, unless it has one of that name. */}}
{{- define "asr-gateway.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if and .Values.engine.enabled (not (hasKey ($config.providers | default dict) "engine")) -}}
{{- $url := printf "http://%s:8100" (include "asr-gateway.engine.fullname" .) -}}
{{- $key := printf "%s/key" (include "asr-gateway.engine.keyFolder" .) -}}
{{- $account := dict "adapter" "engine" "base_url" $url "api_key_file" $key -}}
{{- $config = merge $config (dict "providers" (dict "engine" $account)) -}}
{{- end -}}
{{- toPrettyJson $config -}}
{{- end -}}
