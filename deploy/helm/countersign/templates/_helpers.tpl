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

{{- /* A probe of one path of the admin address: .root, .path */ -}}
{{- define "countersign.probe" -}}
{{- if eq .root.Values.probes "http" -}}
httpGet:
  path: {{ .path }}
  port: admin
{{- else -}}
exec:
  command: ["/usr/local/bin/countersign", "healthcheck", "--url", "http://127.0.0.1:{{ .root.Values.ports.admin }}{{ .path }}"]
{{- end }}
timeoutSeconds: 2
{{- end -}}

{{- /* The container. Charts of applications may have it in their own pods, with `restartPolicy: Always` and "countersign.volumes". */ -}}
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
