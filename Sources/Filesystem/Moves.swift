internal import Synchronization
internal import ThawCore
internal import Upload

/// The names that renames are taking elsewhere. Whoever wants to change what is below one of them, or what it replaces,
/// waits until it is there: what was stored under the old name in between would be deleted with it.
///
/// One lock, which may be held while that of `StagedFiles` is taken.
final class Moves: Sendable {
    private struct State {
        var names: [ObjectKey] = []
        var waiters: [UInt64: CheckedContinuation<Void, Never>] = [:]
        var nextWaiter: UInt64 = 0

        func concern(_ key: ObjectKey) -> Bool { names.contains { $0.isAtOrAbove(key) } }
    }

    private let state = Mutex<State>(State())
    private let count = Atomic(0)

    /// Begins to move these names, once nobody else moves anything below or above them.
    func begin(_ names: [ObjectKey]) async throws(FileError) {
        while true {
            let hasBegun = state.withLock { state in
                let isFree = state.names.allSatisfy { other in
                    names.allSatisfy { !$0.isAtOrAbove(other) && !other.isAtOrAbove($0) }
                }
                guard isFree else { return false }
                state.names += names
                count.store(state.names.count, ordering: .releasing)
                return true
            }
            if hasBegun { return }
            try await waitForEnd { state in
                state.names.contains { other in names.contains { $0.isAtOrAbove(other) || other.isAtOrAbove($0) } }
            }
        }
    }

    func end(_ names: [ObjectKey]) {
        let waiters = state.withLock { state in
            for name in names {
                if let index = state.names.firstIndex(of: name) { state.names.remove(at: index) }
            }
            count.store(state.names.count, ordering: .releasing)
            defer { state.waiters = [:] }
            return state.waiters
        }
        for waiter in waiters.values { waiter.resume() }
    }

    /// Whether the key is on its way to another place, or is to be replaced.
    func concern(_ key: ObjectKey) -> Bool {
        count.load(ordering: .acquiring) > 0 && state.withLock { $0.concern(key) }
    }

    /// Takes the file unless it is on its way; nobody begins to move it before it is among the staged ones.
    func unless(
        moving key: ObjectKey, _ take: () throws(UploadError) -> (file: StagedFile, isNew: Bool)
    ) throws(UploadError) -> (file: StagedFile, isNew: Bool)? {
        let result: Result<(file: StagedFile, isNew: Bool), UploadError>? = state.withLock { state in
            if state.concern(key) { return nil }
            do throws(UploadError) { return .success(try take()) } catch { return .failure(error) }
        }
        return try result?.get()
    }

    /// Returns once the key is not on its way.
    func wait(for key: ObjectKey) async throws(FileError) {
        while concern(key) { try await waitForEnd { $0.concern(key) } }
    }

    private func waitForEnd(while isWanted: (State) -> Bool) async throws(FileError) {
        let id = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isWaiting = state.withLock { state in
                    guard isWanted(state), !Task.isCancelled else { return false }
                    state.waiters[id] = continuation
                    return true
                }
                if !isWaiting { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: id) }?.resume()
        }
        if Task.isCancelled { throw .interrupted }
    }
}

extension ObjectKey {
    /// It is this key, or a prefix of it.
    fileprivate func isAtOrAbove(_ key: ObjectKey) -> Bool { isPrefix ? key.hasPrefix(self) : key == self }
}
