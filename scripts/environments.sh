# Sourced by scripts/clients, scripts/peers and scripts/services: what makes .cache/NAME from scripts/locks/NAME, where
# NAME is the script's. Does nothing for a part whose stamp says that it is up to date.
unset PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONPATH VIRTUAL_ENV
scripts/setup dev

name=$(basename "$0")
home=.cache/$name
locks=scripts/locks/$name
python=$home/python/bin/python
uv=.venv/.uv/bin/uv

fingerprint() { # of all that decides what is there, and of where it stands
  { cat scripts/environments.sh scripts/"$name" $locks/* .venv/pyvenv.cfg && pwd; } | sha256sum
}

part() { # part NAME LOCK: runs install_NAME unless it has been done
  [ -f $home/"$1"/.stamp ] && [ "$(< $home/"$1"/.stamp)" = "$(fingerprint)" ] && return
  echo "$name: installing $locks/$2"
  "install_$1" 9>&-
  fingerprint > $home/"$1"/.stamp
}

quietly() { # shows what went wrong, without the addresses of package indexes
  local output
  output=$("$@" 2>&1 </dev/null) || { sed -E 's#[a-z+]+://[^ `"]*#(an address)#g' <<<"$output" >&2 && return 1; }
}

install_python() {
  export UV_SYSTEM_CERTS=1 # trust what the machine trusts, as pip does
  quietly .venv/bin/python -m venv --clear $home/python
  if [ -x $uv ]; then
    quietly $uv pip sync -q --python $python --require-hashes --compile-bytecode $locks/python.lock && return
    echo "$name: uv did not do it, trying pip" >&2
  fi
  quietly $python -m pip install -qq --disable-pip-version-check --require-hashes -r $locks/python.lock
}

mkdir -p $home
if command -v flock >/dev/null; then # two at once: the second waits, then finds the work done
  exec 9>$home/.lock
  flock 9
fi
