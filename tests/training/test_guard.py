"""The ladder: skip, go back, stop."""

from limner.training.guard import Guard


def climb(guard, steps):
    return [guard.after(skipped=True) for _ in range(steps)]


def test_three_skipped_in_a_row_go_back_and_halve_the_rate():
    guard = Guard()
    assert climb(guard, 3) == ["go", "go", "reload"]
    assert guard.rate_factor == 0.5
    assert guard.skipped == 3


def test_a_good_step_between_starts_the_count_again():
    guard = Guard()
    climb(guard, 2)
    assert guard.after(skipped=False) == "go"
    assert climb(guard, 2) == ["go", "go"]


def test_the_ladder_ends():
    guard = Guard()
    climb(guard, 6)
    assert guard.rate_factor == 0.25
    assert climb(guard, 3) == ["go", "go", "stop"]


def test_health_is_diversity_and_finite_steps():
    assert Guard().healthy
    assert not Guard(diversity=0.1).healthy
    assert not Guard(in_a_row=1).healthy
