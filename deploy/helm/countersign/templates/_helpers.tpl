{{- define "countersign.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "countersign.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "countersign.labels" -}}
{{ include "countersign.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "countersign.image" -}}
{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end -}}

{{- /* Not empty where the admin address speaks TLS: what stands in [admin.tls]. */ -}}
{{- define "countersign.secured" -}}
{{- regexFind "(?m)^\\[admin\\.tls\\][^\\n]*(\\n[^\\[\\n][^\\n]*|\\n)*" .Values.config -}}
{{- end -}}

{{- /* Values that would be rendered, and would not run. */ -}}
{{- define "countersign.fits" -}}
{{- $admin := regexFind "(?ms)^\\[admin\\].*?^bind *= *\"[^\"]*\"" .Values.config | regexFind "\"[^\"]*\"$" | trimAll "\"" -}}
{{- $port := printf ":%d" (int .Values.ports.admin) -}}
{{- if not (hasSuffix $port $admin) -}}
{{- fail (printf "the config has to have [admin] with a bind at the port ports.admin, %d: the probes ask there; it has %q" (int .Values.ports.admin) $admin) -}}
{{- end -}}
{{- $outside := or (eq .Values.probes "http") .Values.serviceMonitor.enabled -}}
{{- if and $outside (regexMatch "^(127\\.|\\[::1\\])" $admin) -}}
{{- fail (printf "admin.bind is %s, where nobody outside of the container reaches it: probes: exec, and no serviceMonitor" $admin) -}}
{{- end -}}
{{- $secured := include "countersign.secured" . -}}
{{- if and $secured (eq .Values.probes "exec") -}}
{{- fail "the command of the probes does not speak TLS, and the config has [admin.tls]" -}}
{{- end -}}
{{- if regexMatch "client_auth *= *\"require\"" $secured -}}
{{- fail "the kubelet has no certificate to show, and [admin.tls] requires one" -}}
{{- end -}}
{{- range $folder, $name := .Values.secrets -}}
{{- if hasKey $.Values.configMaps $folder -}}
{{- fail (printf "configMaps.%s and secrets.%s would be one folder" $folder $folder) -}}
{{- end -}}
{{- end -}}
{{- range $key := list "app.kubernetes.io/name" "app.kubernetes.io/instance" -}}
{{- if hasKey $.Values.podLabels $key -}}
{{- fail (printf "podLabels: %s is what the Deployment knows its pods by" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* A probe of one path of the admin address: .root, .path */ -}}
{{- define "countersign.probe" -}}
{{- if eq .root.Values.probes "http" -}}
httpGet:
  path: {{ .path }}
  port: admin
  {{- if include "countersign.secured" .root }}
  scheme: HTTPS
  {{- end }}
{{- else -}}
exec:
  command: ["/usr/local/bin/countersign", "healthcheck", "--url", "http://127.0.0.1:{{ .root.Values.ports.admin }}{{ .path }}"]
{{- end }}
timeoutSeconds: 2
{{- end -}}

{{- /* The container. */ -}}
{{- define "countersign.container" -}}
name: countersign
image: {{ include "countersign.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: ["run", "--config", "/etc/countersign/countersign.toml"]
ports:
  - name: mtls
    containerPort: {{ .Values.ports.mtls }}
    protocol: TCP
  {{- if eq .Values.probes "http" }}
  - name: admin
    containerPort: {{ .Values.ports.admin }}
    protocol: TCP
  {{- end }}
startupProbe:
  {{- include "countersign.probe" (dict "root" . "path" "/readyz") | nindent 2 }}
  periodSeconds: 1
  failureThreshold: 30
# Not ready from SIGTERM on.
readinessProbe:
  {{- include "countersign.probe" (dict "root" . "path" "/readyz") | nindent 2 }}
  periodSeconds: 5
livenessProbe:
  {{- include "countersign.probe" (dict "root" . "path" "/healthz") | nindent 2 }}
  periodSeconds: 10
  failureThreshold: 3
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: ["ALL"]
  seccompProfile:
    type: RuntimeDefault
resources:
  {{- toYaml .Values.resources | nindent 2 }}
# Whole volumes: with a subPath changed Secrets would never arrive.
volumeMounts:
  - name: countersign-config
    mountPath: /etc/countersign
    readOnly: true
  - name: countersign-tls
    mountPath: /run/countersign/tls
    readOnly: true
  {{- if .Values.tickets.enabled }}
  - name: countersign-tickets
    mountPath: /run/countersign/tickets
    readOnly: true
  {{- end }}
  {{- range $folder, $name := merge (dict) .Values.configMaps .Values.secrets }}
  - name: countersign-{{ $folder }}
    mountPath: /run/countersign/{{ $folder }}
    readOnly: true
  {{- end }}
{{- end -}}

{{- define "countersign.volumes" -}}
- name: countersign-config
  configMap:
    name: {{ include "countersign.name" . }}
- name: countersign-tls
  secret:
    secretName: {{ .Values.certificate.secretName }}
    defaultMode: 0440
{{- if .Values.tickets.enabled }}
- name: countersign-tickets
  secret:
    secretName: {{ .Values.tickets.secretName }}
    defaultMode: 0440
{{- end }}
{{- range $folder, $name := .Values.configMaps }}
- name: countersign-{{ $folder }}
  configMap:
    name: {{ $name }}
{{- end }}
{{- range $folder, $name := .Values.secrets }}
- name: countersign-{{ $folder }}
  secret:
    secretName: {{ $name }}
    defaultMode: 0440
{{- end }}
{{- end -}}
