"""`make cluster`: a cluster with the project's images, until Ctrl-C."""

import argparse
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.cluster import cluster, exclusive, images
from tests.manifests.promtool import PromtoolMissingError, promtool


def main() -> int:
    """Up, the way to it printed, down at SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("--without-images", action="store_true", help="load none of the project's")
    parser.add_argument(
        "--prepare",
        action="store_true",
        help="only what is slow the first time, if there can be one",
    )
    parser.add_argument("--clean", action="store_true", help="remove what a crashed run left")
    arguments = parser.parse_args()
    # SIGINT too: what a script starts in the background begins with that ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    if arguments.prepare:
        return _prepare()
    try:
        cluster.check_possible()
        if arguments.clean:
            with exclusive.alone(_say, limit=0):
                _say("nothing of a cluster is left")
        else:
            _serve(with_images=not arguments.without_images)
    except cluster.ClusterUnavailableError as error:
        _say(f"no cluster: {error}")
        return 1
    except KeyboardInterrupt:
        _say("down")
    return 0


def _prepare() -> int:
    """Build what the tests need, or say why they will not have it."""
    try:
        cluster.check_possible()
    except cluster.ClusterUnavailableError as error:
        _say(f"no cluster: {error}")  # the tests are skipped for it, or fail where CI demands one
        return 0
    # Images wait for the network most of the time, programs for the processor.
    with ThreadPoolExecutor() as pool:
        parts = [pool.submit(part) for part in (_programs, _images)]
    for part in parts:
        try:
            part.result()
        except PromtoolMissingError as error:
            _say(f"no promtool: {error}")
        except cluster.ClusterUnavailableError as error:
            _say(f"no cluster: {error}")
    return 0


def _programs() -> None:
    cluster.prepare(_say)


def _images() -> None:
    images.of_project(_say)
    images.sample(_say)
    promtool()


def _serve(*, with_images: bool) -> None:
    built = images.of_project(_say) if with_images else []
    with cluster.running(_say) as up:
        for image in built:
            _say(f"image on the node: {up.load_image(image)}")
        _say("Ctrl-C takes it down. In another shell:")
        sys.stdout.write(f"export KUBECONFIG={up.kubeconfig} PATH={up.programs}:$PATH\n")
        sys.stdout.flush()
        try:
            signal.pause()
        finally:
            # A second, impatient Ctrl-C must not interrupt the removal.
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
