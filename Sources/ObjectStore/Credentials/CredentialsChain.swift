import Synchronization
package import ThawCore
package import Wire

/// Asks sources in order; the first that has credentials wins. Keeps them until shortly before they end, and
/// renews them once, however many requests wait.
package final class CredentialsChain: CredentialsProvider {
    /// After a renewal failed, the next is tried no sooner than this.
    private static let pause = Duration.seconds(30)

    private struct State {
        var lease: Lease?
        /// No renewal before this, unless the lease has ended.
        var notBefore = Timestamp.epoch
        var renewal: Task<Result<Lease, CredentialsError>, Never>?
    }

    private let sources: [any CredentialsSource]
    private let clock: @Sendable () -> Timestamp
    private let state = Mutex(State())

    package init(
        _ sources: [any CredentialsSource],
        clock: @escaping @Sendable () -> Timestamp = { Timestamp.now() }
    ) {
        self.sources = sources
        self.clock = clock
    }

    package func credentials() async throws(CredentialsError) -> Credentials {
        let now = clock()
        let pending: Task<Result<Lease, CredentialsError>, Never>
        switch state.withLock({ next(&$0, now) }) {
        case .ready(let credentials): return credentials
        case .wait(let task): pending = task
        }
        switch await pending.value {
        case .success(let lease): return lease.credentials
        case .failure(let error):
            // Those that are held serve to their very end.
            if let held = state.withLock({ $0.lease }), (held.expires ?? now + .seconds(1)) > now {
                return held.credentials
            }
            throw error
        }
    }

    package func discard(_ credentials: Credentials) async {
        state.withLock { state in
            if state.lease?.credentials == credentials { state.lease = nil }
        }
    }

    private enum Step {
        case ready(Credentials)
        case wait(Task<Result<Lease, CredentialsError>, Never>)
    }

    private func next(_ state: inout State, _ now: Timestamp) -> Step {
        if let lease = state.lease {
            let isHeld = lease.expires.map { $0 > now && state.notBefore > now } ?? false
            if lease.isFresh(at: now) || isHeld { return .ready(lease.credentials) }
        }
        if let renewal = state.renewal { return .wait(renewal) }
        // A task of its own: a waiter that is cancelled must not fail the others.
        let renewal = Task { await self.renew() }
        state.renewal = renewal
        return .wait(renewal)
    }

    private func renew() async -> Result<Lease, CredentialsError> {
        let result: Result<Lease, CredentialsError>
        do throws(CredentialsError) {
            result = .success(try await search())
        } catch {
            result = .failure(error)
        }
        let now = clock()
        state.withLock { state in
            state.renewal = nil
            switch result {
            case .success(let lease):
                state.lease = lease
                // A source may hand out what is near its end already; asking at every request would not help.
                state.notBefore = lease.isFresh(at: now) ? .epoch : now + Self.pause
            case .failure: state.notBefore = now + Self.pause
            }
        }
        return result
    }

    private func search() async throws(CredentialsError) -> Lease {
        var places: [String] = []
        for source in sources {
            switch try await source.load() {
            case .found(let lease): return lease
            case .absent(let reason): places.append("\(source.name) (\(reason))")
            }
        }
        throw CredentialsError("no credentials; looked at: " + places.joined(separator: ", "))
    }
}

extension Lease {
    /// It need not be renewed yet.
    fileprivate func isFresh(at now: Timestamp) -> Bool { expires.map { $0 - margin > now } ?? true }
}
