"""What keys mean while an answer is on its way to the disk, and when a number pressed twice means much better."""

AGAIN_S = 0.7  # the same number within this time means much better, not the next pair, which nobody can have read


class Keeping:
    """An answer from the key that gives it until it is kept; each session begins with a new one, and so does whatever
    follows an answer that could not be kept."""

    def __init__(self) -> None:
        self.busy = False  # an answer is on its way to the disk
        self.refused = False  # a key was pressed meanwhile, and not taken
        self._undos = 0  # how many more labels are to be taken back after the one that is now
        self._undoing = False
        self._stronger = False  # its own number was
        self._pressed: tuple[int, float] | None = None  # the number that the last answer was given with, and when

    def begin(self, pressed: tuple[int, float] | None = None) -> None:
        """An answer sets out, given with a number at a time, or with another key."""
        self.busy, self._pressed, self._undoing = True, pressed, False

    def begin_undo(self, held: bool) -> bool:
        """Whether a label can be taken back now; while one is, the next follows by itself, unless the file is
        `held` by another process, so that nobody sees what a press does."""
        if self.busy and self._undoing and not held:
            self._undos += 1
        elif not self.refuse():
            self.begin()
            self._undoing = True
            return True
        return False

    def repeats(self, place: int, now: float) -> bool:
        """Whether a number is the last answer's once more, at once; however long it is held down, it stays that."""
        if self._pressed is None or self._pressed[0] != place or now - self._pressed[1] > AGAIN_S:
            return False
        self._pressed = (place, now)
        return True

    def strengthen(self) -> bool:
        """Whether the last answer is made stronger now; one that is on its way is once it is kept."""
        self._stronger = self.busy
        self.busy = True
        return not self._stronger

    def refuse(self) -> bool:
        """Whether a key comes too early."""
        self.refused = self.refused or self.busy
        return self.busy

    def kept(self) -> bool:
        """The answer is on the disk; whether it is to be made stronger now."""
        again = self._stronger
        self.busy, self._stronger, self.refused = False, False, self.refused and again
        return again

    def undoes_more(self) -> bool:
        """Whether another label is to be taken back."""
        more = self._undos > 0
        self._undos -= more
        return more
