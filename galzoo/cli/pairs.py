"""Options of two numbers, which may be typed as one word, 18,25.5 or 18:25.5, or as two."""

from typer.core import TyperCommand

from galzoo.options import PAIR


class PairCommand(TyperCommand):
    """A command whose options with the metavar of pairs take a second word, where both are numbers."""

    def parse_args(self, context, args):
        from galzoo.values import split_numbers

        names = {name for option in self.params if option.metavar == PAIR for name in option.opts}
        joined = []
        for word in args:
            after = len(joined) > 1 and joined[-2] in names
            # A word that is a pair already takes no second one.
            if after and len(split_numbers(joined[-1])) == 1 and len(split_numbers(word)) == 1:
                joined[-1] = f"{joined[-1]},{word}"
            else:
                joined.append(word)
        return super().parse_args(context, joined)
