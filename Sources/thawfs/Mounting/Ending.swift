import Filesystem
import Glibc
import Logging
import Mount
import Synchronization
import ThawCore

/// How a daemon comes to its end. An unmount, by whatever command, or a first signal takes the mount off the tree, and
/// leaves open files a few seconds to be closed; then what was accepted is stored, unless somebody does not want to
/// wait for that: by another signal, or through the control socket.
final class Ending: Sendable {
    private struct State {
        var mount: MountedFilesystem?
        var isStopping = false
        var isStoring = false
        var isHurried = false
        var storing: Task<Bool, Never>?
    }

    private let state = Mutex(State())
    private let mountpoint: String
    private let log: Logger
    private static let grace = Duration.seconds(5)

    init(mountpoint: String, _ log: Logger) {
        self.mountpoint = mountpoint
        self.log = log
    }

    /// From now on a signal unmounts; before, it just ends the process.
    func begin(_ mount: MountedFilesystem) { state.withLock { $0.mount = mount } }

    /// Until it is cancelled.
    func follow(_ stop: StopSignals) -> Task<Void, Never> {
        let arrivals = stop.arrivals
        return Task { for await _ in arrivals { stopOrHurry() } }
    }

    private func stopOrHurry() {
        let (mount, isFirst) = state.withLock { state in
            defer { state.isStopping = true }
            return (state.mount, !state.isStopping && !state.isStoring)
        }
        guard let mount else { _exit(130) }
        guard isFirst else { return hurry() }
        log.info("stopping: unmounting \(mountpoint)")
        mount.unmount()
        Task {
            try? await Task.sleep(for: Self.grace)
            if state.withLock({ $0.isStoring }) { return }
            log.warning("files are still open on \(mountpoint); they fail from now on")
            _exit(0)
        }
    }

    /// Ends without waiting for what is not stored yet.
    func hurry() {
        state.withLock { state in
            state.isHurried = true
            return state.storing
        }?.cancel()
    }

    /// Once the mount is gone: false when some of what was accepted is not stored, because it cannot be, or nobody
    /// wants to wait for it.
    func storeRest(of filesystem: Filesystem) async -> Bool {
        let storing = Task { await filesystem.finishUploads() }
        let isHurried = state.withLock { state in
            state.isStoring = true
            state.storing = storing
            return state.isHurried
        }
        if isHurried { storing.cancel() }
        return await storing.value
    }
}
