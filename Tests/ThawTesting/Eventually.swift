/// Waits until the condition holds. False when it has not after a minute, which only a hang takes.
package func eventually(_ condition: () async throws -> Bool) async rethrows -> Bool {
    let deadline = ContinuousClock.now + .seconds(60)
    while ContinuousClock.now < deadline {
        if try await condition() { return true }
        // Leaves the machine to those who are waited for.
        try? await Task.sleep(for: .milliseconds(1))
    }
    return false
}
