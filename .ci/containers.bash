# shellcheck shell=bash
# Images and containers for the check scripts, in a store of their own that
# ends with them; sourced after checks.bash, not run.
#
# No daemon and no registry is needed: a base image that cannot be had is
# replaced under its own name, and the checks say so.
# shellcheck disable=SC2034,SC2154

# containers_ready: whether this machine can run containers; sets `why_not` where it cannot.
containers_ready() {
  local program
  why_not=
  [ "$(id -u)" -eq 0 ] || why_not='this user is not root'
  for program in podman buildah runc nsenter; do
    command -v "$program" >/dev/null || why_not="$program is not installed"
  done
  [ -z "$why_not" ] || return 1
  set_up_store
  # The least that there is: one static program, alone in an image.
  if ! tar -C / --dereference -c usr/bin/catatonit 2>/dev/null | podman import - localhost/probe >"$said" 2>&1 ||
    ! podman run --rm --network none localhost/probe /usr/bin/catatonit --version >"$said" 2>&1; then
    why_not="podman cannot run a container here: $(tail -n 1 "$said")"
    return 1
  fi
}

# runc rather than crun, which refuses some layouts of control groups; and no
# more descriptors and processes than this process may have itself.
set_up_store() {
  mkdir -p "$work/store" "$work/run"
  cat >"$work/storage.conf" <<END
[storage]
driver = "$(store_driver)"
graphroot = "$work/store"
runroot = "$work/run"
END
  cat >"$work/containers.conf" <<END
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
default_ulimits = ["nofile=$(ulimit -Hn):$(ulimit -Hn)", "nproc=4096:4096"]
END
  export CONTAINERS_STORAGE_CONF=$work/storage.conf CONTAINERS_CONF=$work/containers.conf
  export BUILDAH_ISOLATION=chroot
}

# Layers on top of each other where the system can, copies of everything where not.
store_driver() {
  mkdir -p "$work"/try/{low,up,work,all}
  if mount -t overlay overlay -o "lowerdir=$work/try/low,upperdir=$work/try/up,workdir=$work/try/work" "$work/try/all" 2>/dev/null; then
    umount "$work/try/all"
    echo overlay
  else
    echo vfs
  fi
}

# For `trap`: ends the containers, and gives back what the store has mounted.
remove_store() {
  if [ -e "$work/storage.conf" ]; then
    podman pod rm --all --force --time 0 >/dev/null 2>&1
    podman rm --all --force --time 0 >/dev/null 2>&1
    awk -v store="$work/" 'index($2, store) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount
  fi
  rm -rf "$work"
}

# base_image NAME: has the image that the Dockerfile names, or one like it; sets `base_is`.
base_image() {
  if timeout 20 podman pull --quiet "$1" >/dev/null 2>&1; then
    base_is='its own base'
  else
    base_is='a base made of the same Debian packages'
    stand_in "$1" >"$said" 2>&1
  fi
}

# stand_in NAME: the Debian packages of distroless/cc-debian12, without a package manager or a shell.
stand_in() {
  local tree=$work/distroless
  mkdir -p "$tree"/{etc/ssl/certs,home/nonroot,tmp,root,lib64} && chmod 1777 "$tree/tmp" &&
    chown 65532:65532 "$tree/home/nonroot" || return
  unpacked "$tree" base-files netbase tzdata ca-certificates libc6 libgcc-s1 gcc-12-base libssl3 libstdc++6 libgomp1 || return
  find "$tree/usr/share/ca-certificates" -name '*.crt' -exec cat {} + >"$tree/etc/ssl/certs/ca-certificates.crt"
  printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' >"$tree/etc/passwd"
  printf 'root:x:0:\nnonroot:x:65532:\n' >"$tree/etc/group"
  printf 'hosts: files dns\n' >"$tree/etc/nsswitch.conf"
  rm -rf "$tree"/usr/share/{doc,man,lintian} "$tree/usr/sbin"
  tar -C "$tree" -c . | podman import --quiet --change 'USER 65532' --change 'WORKDIR /home/nonroot' - "$1"
}

# unpacked FOLDER PACKAGE...: what Debian's packages hold, without installing them.
unpacked() {
  local folder=$1 packages package
  shift
  packages=$(mktemp -d "$work/packages.XXXXXX") && chmod 755 "$packages" || return
  (cd "$packages" && { apt-get download -q "$@" || { apt-get update -q && apt-get download -q "$@"; }; }) || return
  for package in "$packages"/*.deb; do
    dpkg-deb -x "$package" "$folder" || return
  done
  rm -r "$packages"
}

# make_static FILE: the program with the C library in it, of the build of the tests: the link is
# what is to be seen, and optimizing again would take minutes.
make_static() {
  cargo rustc --locked --features inside --bin countersign -- -C target-feature=+crt-static &&
    strip -o "$1" "${CARGO_TARGET_DIR:-target}/debug/countersign"
}
