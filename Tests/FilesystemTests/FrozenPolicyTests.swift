import Filesystem
import Testing

@Suite("how long a read may wait for a restore")
struct FrozenPolicyTests {
    @Test(
        "a wait stays below the kernel's request timeout",
        arguments: [
            // kernel's default, kernel's maximum, restore_wait, what is left of it
            (0, 0, Duration.seconds(300), Duration.seconds(300), false),
            (600, 0, .seconds(300), .seconds(300), false),
            (60, 0, .seconds(300), .seconds(40), true),
            (0, 90, .seconds(300), .seconds(70), true),
            (600, 90, .seconds(300), .seconds(70), true),
            (5, 0, .seconds(300), .seconds(1), true),
        ])
    func fits(kernelDefault: Int, kernelMaximum: Int, wait: Duration, left: Duration, isShortened: Bool) {
        var policy = FrozenPolicy()
        policy.waitMax = wait
        let answer = policy.fit(kernelDefaultSeconds: kernelDefault, kernelMaximumSeconds: kernelMaximum)
        #expect(answer == isShortened)
        #expect(policy.waitMax == left)
    }

    @Test("a wait for ever ends before the kernel's request timeout, if it has one")
    func forever() {
        var policy = FrozenPolicy()
        policy.waitMax = nil
        let isShortenedByNone = policy.fit(kernelDefaultSeconds: 0, kernelMaximumSeconds: 0)
        #expect(!isShortenedByNone)
        #expect(policy.waitMax == nil)
        let isShortened = policy.fit(kernelDefaultSeconds: 3600, kernelMaximumSeconds: 0)
        #expect(isShortened)
        #expect(policy.waitMax == .seconds(3580))
    }
}
