internal import ThawCore

/// What reads alone may restore in a while: the mount's `restore_budget`.
package struct RestoreBudget: Sendable, Equatable {
    /// Size of the objects, not of what is read of them. At least 1.
    package var bytes: UInt64
    /// Within `windows`.
    package var window: Duration

    package static let windows: ClosedRange<Duration> = .seconds(60)...(.seconds(31 * 86_400))

    package init(bytes: UInt64, window: Duration) {
        self.bytes = bytes
        self.window = window
    }

    /// `100G/1d`; nil when it is not two such parts, or beyond their ranges.
    package init?(parsing text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, let bytes = Units.bytes(parts[0]), bytes > 0, let window = Units.duration(parts[1]),
            Self.windows.contains(window)
        else { return nil }
        self.init(bytes: bytes, window: window)
    }
}

/// What a read of a frozen file restores along with it: the mount's `restore_ahead`.
package enum RestoreAhead: String, Sendable, CaseIterable {
    case off
    /// The files beside it.
    case dir
    /// And those below them.
    case tree
}
