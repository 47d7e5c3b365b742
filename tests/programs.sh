#!/bin/sh
# Installs programs that are missing, if we may.
#   programs.sh need|try program:package …
# A daemon among them starts neither now nor with the machine.
# Ends with 1, naming every package, if "need"ed ones cannot be had.
#   programs.sh unpack FOLDER program:package …
# does not install but unpacks into a folder: packages whose services apt would start, and start
# again at every boot, on what may be somebody's own machine.
#   programs.sh newer FOLDER SUITE package …
# unpacks packages of another Debian, the one with the program first; the tests that want them say so
# where that fails.
how=$1; shift
PATH=$PATH:/usr/sbin:/sbin
folder=
if [ "$how" = unpack ]; then
    folder=$1; shift
    PATH=$PATH:$folder/usr/sbin:$folder/usr/bin
fi
if [ "$how" = newer ]; then
    folder=$1 suite=$2; shift 2
    [ -e "$folder/usr/sbin/$1" ] && exit 0
    echo "Unpacking from Debian's $suite: $*"
    mkdir -p "$folder/lists/partial" && cd "$folder" || exit 1
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb [signed-by=$keys] http://deb.debian.org/debian $suite main" >sources.list
    cat >apt.conf <<END
Dir::Etc::sourcelist "$PWD/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$PWD/lists";
Dir::Cache "$PWD";
APT::Sandbox::User "root";
END
    export APT_CONFIG="$PWD/apt.conf"
    apt-get update -qq && apt-get download -qq "$@" &&
        for package in ./*.deb; do dpkg -x "$package" .; done
    rm -rf lists ./*.deb ./*.bin
    exit 0
fi
wanted=
for pair; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || wanted="$wanted ${pair##*:}"
done
[ -z "$wanted" ] && exit 0

as_root=
[ "$(id -u)" = 0 ] || as_root="sudo -n"
if command -v apt-get >/dev/null 2>&1 && { [ -z "$as_root" ] || $as_root true 2>/dev/null; }; then
    echo "Installing:$wanted"
    $as_root apt-get update -qq
    if [ -n "$folder" ]; then
        # With the packages they need and this machine lacks.
        fetched=$(mktemp -d) && mkdir "$fetched/partial" && chmod 755 "$fetched"
        # shellcheck disable=SC2086
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            --download-only -o Dir::Cache::archives="$fetched" $wanted >/dev/null &&
            for package in "$fetched"/*.deb; do dpkg -x "$package" "$folder" || exit 1; done
        done=$?
        $as_root rm -rf "$fetched"
        [ $done = 0 ] && exit 0
        echo "Missing packages, please install them:$wanted" >&2
        exit 1
    fi
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap '$as_root rm -f "$policy"' EXIT
        trap 'exit 130' HUP INT TERM
        printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
        $as_root chmod 755 "$policy"
    fi
    # shellcheck disable=SC2086
    if $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $wanted >/dev/null; then
        for package in $wanted; do
            $as_root systemctl disable "$package" >/dev/null 2>&1
        done
        exit 0
    fi
fi
echo "Missing packages, please install them:$wanted" >&2
[ "$how" = try ]
