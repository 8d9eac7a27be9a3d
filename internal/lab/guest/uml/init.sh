#!/bin/bash
# The first process of a guest. $0 lies in the directory of this guest on the
# machine, which is the guest's root at first, over hostfs and read-only:
#
#   init      this file
#   tree      link to the unpacked packages
#   share     both sides read and write it; in the guest it is /share
#
# It lays a file system of its own over the packages over the machine's files,
# goes on inside that, and then does what it is told on the serial line.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb

lay() {
  local here tree base=/srv root=/srv/root
  here=$(dirname "$0")
  mount -t proc proc /proc
  tree=$(readlink -f "$here/tree")
  # kmod is insmod when it is called so.
  (exec -a insmod "$tree/usr/bin/kmod" "$tree/usr/lib/uml/modules/$(uname -r)/kernel/fs/overlayfs/overlay.ko")
  mount -t tmpfs -o mode=755 tmpfs $base
  mkdir $base/machine $base/tree $base/upper $base/work $root
  mount -r -t hostfs -o / none $base/machine
  mount -r -t hostfs -o "$tree" none $base/tree
  mount -t overlay -o "lowerdir=$base/tree:$base/machine,upperdir=$base/upper,workdir=$base/work,index=off,metacopy=off" overlay $root
  mount -t proc proc $root/proc
  mount -t sysfs sysfs $root/sys
  mount -t devtmpfs devtmpfs $root/dev
  mkdir -p $root/dev/shm $root/dev/pts $root/share
  mount -t tmpfs tmpfs $root/dev/shm
  mount -t devpts devpts $root/dev/pts
  mount -t tmpfs -o mode=1777 tmpfs $root/tmp
  mount -t tmpfs -o mode=755 tmpfs $root/run
  mount -t hostfs -o "$here/share" none $root/share
  cp "$0" $root/run/init
  exec chroot $root /bin/bash /run/init inside
}

# A job is a script in /share/jobs; its number comes over the line and goes back
# when it is done. Closing a file on hostfs writes it out, so whoever reads the
# number back finds all of the job's output.
job() {
  bash "/share/jobs/$1" </dev/null >"/share/jobs/$1.out" 2>"/share/jobs/$1.err"
  echo $? >"/share/jobs/$1.status"
  echo "$1" >&3
}

inside() {
  cd /
  # Logs are on the machine within a fifth of a second.
  echo 10 >/proc/sys/vm/dirty_writeback_centisecs
  echo 10 >/proc/sys/vm/dirty_expire_centisecs
  ip link set lo up
  exec 3<>/dev/ttyS0
  stty -F /dev/ttyS0 raw -echo
  echo ready >&3
  while read -r word <&3; do
    case $word in
      off) break ;;
      [0-9]*) job "$word" & ;;
    esac
  done
  sync
  echo o >/proc/sysrq-trigger
  sleep 10
}

if [ "${1:-}" = inside ]; then inside; else lay; fi
# Only a mount or a chroot that failed comes here: the console tells which.
echo "the guest's root cannot be laid"
